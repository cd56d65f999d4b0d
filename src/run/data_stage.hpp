// SPDX-License-Identifier: Apache-2.0
#pragma once
// data.stage: copies of token files on a local disk of each node.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/world.hpp"

namespace penstock {

/// A copy of a file on this node.
struct StagedFile {
  std::filesystem::path path = {};
  std::string digest = {};  ///< of all its bytes
  bool copied = false;      ///< false: it existed from an earlier run attempt, and was verified
};

/// Copies a file into the folder, or finds an earlier copy of the same file there: its name identifies the original
/// (path, size, time of change) and contains the digest of its bytes. A new copy is read back from the disk before it
/// gets its name. `progress` counts bytes. Throws InputError or SystemError.
StagedFile stage_file(const std::filesystem::path& file, const std::filesystem::path& folder,
                      std::atomic<std::uint64_t>& progress);

/// Collective: one rank of each node stages the files, the others wait; all nodes must get the same digests. Returns
/// the paths on this node. A copy without progress for `deadline_seconds` ends the job. Throws CollectiveFailure.
std::vector<std::filesystem::path> stage_files(World& world, const std::vector<std::filesystem::path>& files,
                                               const std::filesystem::path& folder, double deadline_seconds);

}  // namespace penstock
