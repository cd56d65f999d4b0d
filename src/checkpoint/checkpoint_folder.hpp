// SPDX-License-Identifier: Apache-2.0
#pragma once
// The folder of a run's checkpoints: which exist, which is the newest whole one, which may be removed.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.hpp"

namespace penstock {

/// A file with the name of a checkpoint.
struct CheckpointFile {
  std::filesystem::path path;
  std::int64_t step = 0;
};

/// "step-00000100.h5" gives 100.
std::optional<std::int64_t> step_of_name(const std::string& file_name);

/// Files with names of checkpoints, the newest step first; none if the folder does not exist. Throws CannotOpen if it
/// cannot be listed.
std::vector<CheckpointFile> checkpoint_files(const std::filesystem::path& folder);

/// The same for reports only: none if the folder cannot be listed.
std::vector<CheckpointFile> checkpoint_files_in_sight(const std::filesystem::path& folder) noexcept;

/// The newest whole checkpoint of a folder.
struct Latest {
  struct PassedOver {
    CheckpointFile file;
    std::string why;
  };
  std::optional<CheckpointFile> file;  ///< verified: load it with LoadOptions::verified
  std::vector<PassedOver>
      passed_over;  ///< newer files that are not whole. Without `file` and with some of these: exit code 2.
};

/// Collective: verifies from the newest file on until one is whole. A file that cannot be opened may be whole: then
/// older ones are not tried, and CollectiveCannotOpen is thrown. Also throws CollectiveFailure if the I/O thread was
/// given up in a damaged file: then this run attempt can read nothing more.
Latest find_latest(World& world, IoThread& io, const std::filesystem::path& folder,
                   double quiet_seconds = default_quiet_seconds);

/// After a restart from an older file the later ones belong to a branch that the run leaves: `latest` must not return
/// to it, and it must not displace the run's own checkpoints. Moves the files beyond `step` to "left-at-<step>" in the
/// folder; nothing there is overwritten. Returns their new paths.
std::vector<std::filesystem::path> set_aside_later(const std::filesystem::path& folder, std::int64_t step);
/// Throws InputError if one of these belongs to another user and may not be moved by this one.
void ensure_later_may_be_moved(const std::filesystem::path& folder, std::int64_t step);

/// Removes checkpoints older than the `keep`-th newest whole one (`keep` < 1: removes none). Files that do not open as
/// whole checkpoints (structure, digest, complete), or do not open at all, are neither counted nor removed, so the last
/// whole one always stays; so do those that this user may not write. Returns the removed files. `ensure_mine` throws if
/// this run attempt may no longer write. Runs on the I/O thread, on rank 0 alone, or in a process that has none.
std::vector<std::filesystem::path> keep_newest(const std::filesystem::path& folder, int keep,
                                               const std::function<void()>& ensure_mine = {});

}  // namespace penstock
