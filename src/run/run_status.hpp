// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state of a run, from its folder: `penstock status`. Works from any node, also while the run writes.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "checkpoint/checkpoint_folder.hpp"
#include "run/attempt_record.hpp"
#include "run/metrics.hpp"
#include "storage/guard_view.hpp"

namespace penstock {

/// The end of metrics.csv.
struct RecentSteps {
  MetricsRow last;               ///< step 0: there is no row yet
  double seconds_per_step = 0;   ///< median of the last 20 steps
  double tokens_per_second = 0;  ///< likewise
  double age_seconds = 0;        ///< since the last row was written
};

/// The state of a run: running, done, stopped, failed, killed (a run attempt began, no longer runs, and recorded no
/// end), new (no run attempt yet), or unknown (there are steps, and end.json is damaged or missing).
struct RunStatus {
  std::filesystem::path folder;
  std::string state;
  std::int64_t steps = 0;  ///< run.steps; 0 if unknown
  RecentSteps recent;
  std::optional<CheckpointFile> checkpoint;  ///< the newest that opens as a whole one; a restart begins there
  std::string checkpoint_problem;            ///< why a restart is refused: a newer one cannot be opened
  std::optional<AttemptRecord> last_end;     ///< of the last life that has ended
  std::int64_t attempts = 0;
  bool end_damaged = false;  ///< end.json is there and says nothing
  std::optional<GuardView> guard;

  /// Nothing if unknown.
  std::optional<double> seconds_left() const;
};

/// Throws InputError if there is no such folder.
RunStatus read_status(IoThread& io, const std::filesystem::path& folder);
RecentSteps read_recent_steps(const std::filesystem::path& metrics);

std::string text_of(const RunStatus& status);
nlohmann::ordered_json json_of(const RunStatus& status);

}  // namespace penstock
