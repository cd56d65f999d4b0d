// SPDX-License-Identifier: Apache-2.0
#include "run/restart_advice.hpp"

#include <algorithm>

#include "checkpoint/checkpoint_folder.hpp"

namespace penstock {

namespace {

constexpr std::string_view otherwise =
    "with a lower optimizer.learning_rate, a longer warmup, or watchdog.nonfinite = \"skip\"";

}  // namespace

std::string restart_advice(const std::filesystem::path& checkpoints, std::int64_t unchanged_since) {
  const std::vector<CheckpointFile> files = checkpoint_files_in_sight(checkpoints);
  const auto older =
      std::find_if(files.begin(), files.end(), [&](const CheckpointFile& file) { return file.step < unchanged_since; });
  if (older == files.begin() && older != files.end())
    return fmt::format("restart from step {} (--restart latest takes the newest whole checkpoint) {}", older->step,
                       otherwise);
  if (older != files.end())
    return fmt::format(
        "the newest checkpoint, of step {}, is the state that fails, and --restart latest would meet it again: restart "
        "from an older one with --restart {} {}",
        files.front().step, older->path.string(), otherwise);
  return fmt::format(
      "no older checkpoint than the state that fails is in {}: restart from one that lies elsewhere, or begin "
      "anew in another folder with --run, {}",
      checkpoints.string(), otherwise);
}

}  // namespace penstock
