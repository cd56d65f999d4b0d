// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes an array file that no process holds as a whole: one process makes it block by block.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "checkpoint/array_plan.hpp"
#include "checkpoint/hdf5.hpp"
#include "checkpoint/io_thread.hpp"
#include "comm/world.hpp"

namespace penstock {

struct StreamedFile {
  std::filesystem::path path;
  std::vector<Attribute> attributes;   ///< of the file; `digest` and `complete` are added
  std::vector<ArraySpec> arrays = {};  ///< of float32; their pieces do not matter
  /// Fills a block of rows of arrays[array], dense. Called on the caller's thread, in the order of the arrays.
  std::function<void(std::size_t array, const Box& block, float* values)> fill = {};
  /// About as many (whole chunks) of each block.
  std::int64_t block_bytes = std::int64_t{4} << 20;
};

/// So many are in memory: one is being filled while others are written. With two, each thread would wait for the other
/// one at every block, and on a busy machine for a processor.
inline constexpr std::size_t blocks_of_a_stream = 4;

/// By one rank: writes the file, whole or not at all; one that is there already is replaced in one step. Returns its
/// bytes. Throws what `fill` throws, and SystemError where writing fails; nothing is left then.
std::uint64_t stream_arrays(World& world, IoThread& io, const StreamedFile& file);

}  // namespace penstock
