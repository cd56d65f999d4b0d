// SPDX-License-Identifier: Apache-2.0
#pragma once
// Saving arrays that are spread over the ranks into one HDF5 file: the mechanism of checkpoints and captures.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/array_plan.hpp"
#include "checkpoint/hdf5.hpp"
#include "checkpoint/writers.hpp"
#include "comm/world.hpp"

namespace penstock {

/// The first element of this rank's piece `arrays[array].pieces[piece]`, in host memory, dense, of the array's type;
/// may be asked for several times, and stays as it is until the save has returned.
using LocalData = std::function<const std::byte*(std::size_t array, std::size_t piece)>;

struct ArrayFile {
  std::filesystem::path path;
  std::vector<Attribute> attributes;  ///< of the file; `digest` and `complete` are added
  std::vector<ArraySpec> arrays;
  LocalData local_data;
  /// Called on rank 0 before anything is written, and before the file gets its name; throws when this life may not
  /// write any more.
  std::function<void()> ensure_mine = {};
  /// Called on rank 0 while the file is being synced: brings to the device what has to be there before the file has its
  /// name; throws where that fails.
  std::function<void()> sync_others = {};
  /// Of what travels at a time: a writer holds three times so many. One that writes alone makes a file of one round in
  /// memory.
  std::size_t round_bytes = std::size_t{64} << 20;
  Progress* progress = nullptr;  ///< what has gone its way, for who waits for the save
};

struct SaveOutcome {
  bool ok = false;
  std::string message;  ///< why not
  std::uint64_t bytes = 0;
  double seconds = 0;
};

/// Collective, on any one thread of each rank, for one file at a time: writes the file, whole or not at all. Every rank
/// gets the same outcome; nothing is thrown for a disk that is full, a folder that is gone, or a library that fails.
/// Files that are there stay as they are, unless the file itself is there already: it is replaced in one step. The
/// ranks wait for each other under the one wait.
SaveOutcome save_arrays(World& world, Writers& writers, const ArrayFile& file);

}  // namespace penstock
