// SPDX-License-Identifier: Apache-2.0
#pragma once
// Between two steps: has anything asked this life to save and leave?

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "plan/run_config.hpp"
#include "run/job_end.hpp"
#include "run/run_folder.hpp"
#include "run/stop_request.hpp"

namespace penstock {

/// What ends a life before run.steps. Where ranks name different ones, the last of this list counts.
enum class StopReason { none, run_stop, stop_file, job_end, signal };
/// As end.json says it: "", "run.stop", "stop file", "job end", "signal".
std::string_view name_of(StopReason reason);
/// As the log says it after "stopped": "at run.stop", "on request (SIGTERM)".
std::string words_of(StopReason reason, int signal = 0);

struct StopSources {
  std::filesystem::path file;       ///< one of this name asks to stop; empty: not looked for
  std::optional<WallTime> job_end;  ///< of the batch system's job
  double reserve_seconds = 30;      ///< to be free before that end, whatever steps and saves take
  double save_seconds = 0;          ///< what a save may take, until one was measured
};

/// What a run looks at: the file `stop` in its folder, and the end of the Slurm job that it is in, which is asked for
/// here. For rank 0.
StopSources stop_sources(const RunConfig& config, const RunFolder& folder, const ModelPlan& plan);

/// Any rank hears signals; the file and the job's end are for one rank to look at, so that file systems and Slurm are
/// asked once.
class StopCheck {
 public:
  StopCheck(StopRequest& request, StopSources sources) : request_(&request), sources_(std::move(sources)) {}

  /// What asks now; remembered from then on. The file is looked for once a second at most.
  StopReason asked();
  /// The signal that came, or 0.
  int signal() { return request_->signal(); }

  void step_took(double seconds) { longest_step_ = std::max(longest_step_, seconds); }
  /// From its begin until it was durable.
  void save_took(double seconds) { longest_save_ = std::max(longest_save_.value_or(0), seconds); }
  /// How long before the job's end a run has to stop: the reserve, and twice the longest step and save so far.
  double margin_seconds() const {
    return sources_.reserve_seconds + 2 * longest_step_ + 2 * longest_save_.value_or(sources_.save_seconds);
  }

 private:
  bool file_is_there();
  bool job_ends_soon() const;

  StopRequest* request_;
  StopSources sources_;
  StopReason asked_ = StopReason::none;
  double longest_step_ = 0;
  std::optional<double> longest_save_;
  std::chrono::steady_clock::time_point looked_{};
};

}  // namespace penstock
