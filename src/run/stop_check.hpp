// SPDX-License-Identifier: Apache-2.0
#pragma once
// Between two steps: has anything asked this run attempt to save and stop?

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

/// What ends a run attempt before run.steps. If ranks have different reasons, the last of this list counts.
enum class StopReason { none, run_stop, stop_file, job_end, signal };
/// In end.json: "", "run.stop", "stop file", "job end", "signal".
std::string_view name_of(StopReason reason);
/// In the log, after "stopped": "at run.stop", "on request (SIGTERM)".
std::string words_of(StopReason reason, int signal = 0);

struct StopSources {
  std::filesystem::path file;       ///< a file of this name asks to stop; empty: not checked
  std::optional<WallTime> job_end;  ///< of the batch system's job
  double reserve_seconds = 30;      ///< kept free before that end, whatever steps and saves take
  double save_seconds = 0;          ///< assumed time of a save, until one was measured
};

/// The sources of a run: the file `stop` in its folder, and the end of its Slurm job, which is queried here. For rank
/// 0.
StopSources stop_sources(const RunConfig& config, const RunFolder& folder, const ModelPlan& plan);

/// Every rank checks for signals; only one checks the file and the job's end, so that file systems and Slurm are asked
/// once.
class StopCheck {
 public:
  StopCheck(StopRequest& request, StopSources sources) : request_(&request), sources_(std::move(sources)) {}

  /// The present reason, remembered from then on. Checks for the file at most once a second.
  StopReason asked();
  /// The received signal, or 0.
  int signal() { return request_->signal(); }

  void step_took(double seconds) { longest_step_ = std::max(longest_step_, seconds); }
  /// From the beginning of the save until it was durable.
  void save_took(double seconds) { longest_save_ = std::max(longest_save_.value_or(0), seconds); }
  /// How long before the job's end a run must stop: the reserve, and twice the longest step and save so far.
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
