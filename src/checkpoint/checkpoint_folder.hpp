// SPDX-License-Identifier: Apache-2.0
#pragma once
// The folder of a run's checkpoints: which are there, which is the newest whole one, which may go.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.hpp"

namespace penstock {

/// A file by the name of a checkpoint.
struct CheckpointFile {
  std::filesystem::path path;
  std::int64_t step = 0;
};

/// "step-00000100.h5" gives 100.
std::optional<std::int64_t> step_of_name(const std::string& file_name);

/// Files by the name of checkpoints, the newest step first; none when the folder is not there. Throws CannotOpen when
/// it cannot be listed.
std::vector<CheckpointFile> checkpoint_files(const std::filesystem::path& folder);

/// The same for what is only told: none when the folder cannot be listed.
std::vector<CheckpointFile> checkpoint_files_in_sight(const std::filesystem::path& folder) noexcept;

/// The newest whole checkpoint of a folder.
struct Latest {
  struct PassedOver {
    CheckpointFile file;
    std::string why;
  };
  std::optional<CheckpointFile> file;  ///< verified: load it with LoadOptions::verified
  std::vector<PassedOver>
      passed_over;  ///< newer files that are not whole. Without `file` and with some of these: exit 2.
};

/// Collective: verifies from the newest file on until one is whole. A file that cannot be opened may be whole: nothing
/// older is looked at, and CollectiveCannotOpen is thrown. Throws CollectiveFailure, too, when the I/O thread was given
/// up in a damaged file: nothing can be read in this life any more.
Latest find_latest(World& world, IoThread& io, const std::filesystem::path& folder,
                   double quiet_seconds = default_quiet_seconds);

/// After a restart from an older file the later ones belong to a branch that the run leaves: `latest` must not go back
/// to it, nor may it push the run's own checkpoints out. Moves the files beyond `step` to "left-at-<step>" in the
/// folder; nothing there is overwritten. Returns where they are now.
std::vector<std::filesystem::path> set_aside_later(const std::filesystem::path& folder, std::int64_t step);
/// Throws InputError when one of these is another user's, and may not be moved by this one.
void ensure_later_may_be_moved(const std::filesystem::path& folder, std::int64_t step);

/// Removes checkpoints older than the `keep`-th newest whole one (`keep` < 1: none goes). Files that do not open as
/// whole checkpoints (structure, digest, complete), or do not open at all, are neither counted nor removed, so the last
/// whole one always stays; so do those that this user may not write.
/// Returns what was removed. `ensure_mine` throws when this life may not write any more. Runs on the I/O thread, on
/// rank 0 alone, or in a process that has none.
std::vector<std::filesystem::path> keep_newest(const std::filesystem::path& folder, int keep,
                                               const std::function<void()>& ensure_mine = {});

}  // namespace penstock
