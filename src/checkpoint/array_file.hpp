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

/// The first element of this rank's piece `arrays[array].pieces[piece]`, in host memory, dense, of the array's type.
/// May be called several times; the data must not change until the save has returned.
using LocalData = std::function<const std::byte*(std::size_t array, std::size_t piece)>;

struct ArrayFile {
  std::filesystem::path path;
  std::vector<Attribute> attributes;  ///< of the file; `digest` and `complete` are added
  std::vector<ArraySpec> arrays;
  LocalData local_data;
  /// Called on rank 0 before anything is written, and before the file gets its name; throws if this run attempt may no
  /// longer write.
  std::function<void()> ensure_mine = {};
  /// Called on rank 0 while the file is being synced: syncs other files that must be on the device before this one gets
  /// its name; throws if that fails.
  std::function<void()> sync_others = {};
  /// Bytes of one round; a writer holds three times as many. A rank that writes alone makes a file of one round in
  /// memory.
  std::size_t round_bytes = std::size_t{64} << 20;
  Progress* progress = nullptr;  ///< how far the save is, for whoever waits for it
};

struct SaveOutcome {
  bool ok = false;
  std::string message;  ///< the reason of a failure
  std::uint64_t bytes = 0;
  double seconds = 0;
};

/// Collective, on any one thread of each rank, for one file at a time: writes the file, whole or not at all. Every rank
/// gets the same outcome; a full disk, a missing folder or a failing library is not thrown. Other files stay unchanged;
/// an existing file of this name is replaced in one step. The ranks wait for each other through World::wait.
SaveOutcome save_arrays(World& world, Writers& writers, const ArrayFile& file);

}  // namespace penstock
