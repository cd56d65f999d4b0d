// SPDX-License-Identifier: Apache-2.0
#pragma once
// Trainer: the loop: steps, evaluations and saves, until the end or a stop.

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.hpp"
#include "observe/nonfinite_steps.hpp"
#include "observe/step_capture.hpp"
#include "train/run_parts.hpp"

namespace penstock {

/// Exit codes of a run attempt that ended well.
inline constexpr int exit_done = 0;
inline constexpr int exit_stopped = 75;

class Trainer {
 public:
  /// The parts outlive the trainer.
  explicit Trainer(const RunParts& parts);

  /// Collective: trains up to run.steps, run.stop or a stop request, and returns the exit code. Every attempt ends with
  /// a checkpoint and a record of its end. Throws CollectiveFailure for failures between two steps, where all ranks are
  /// at the same point; a failure elsewhere ends the job.
  int run();

 private:
  /// What is noted of a step before it is launched.
  struct StepBegin {
    Clock::time_point time;
    double waited = 0;                     ///< seconds that this thread had waited by then
    std::unique_ptr<StepCapture> capture;  ///< null: the step is not captured
  };

  bool goes_on() const;
  std::unique_ptr<StepCapture> begin_capture();
  /// Whether another step may be launched: none is under way, or nothing must happen between that step and the next.
  bool may_launch() const;
  MetricsRow finish_step(const StepBegin& begun);
  /// Handles a step whose loss or norm is not finite; returns whether its update was skipped. Throws CollectiveFailure
  /// if the run must end.
  bool skips_nonfinite(FinishedStep& step);
  void report_evaluated(MetricsRow row);
  /// All ranks agree on the reason to stop, if any: a rank's signal, or what rank 0 sees.
  void agree_on_stop();
  bool save_due() const;
  void save();
  void save_last();
  std::string keep_evidence();

  int finish();
  void ensure_last_step_is_saved();
  void count_steps_under_way();
  [[noreturn]] void end_with_failure();
  [[noreturn]] void end_without_folder();
  [[noreturn]] void end_with_lost_state();

  bool folder_lost() const { return on_.session.is_lost() || on_.saver.lost_folder(); }
  std::int64_t steps_done() const { return on_.steps.position().step; }
  bool all_done() const { return steps_done() >= on_.agenda.steps(); }
  CheckpointMeta meta() const;

  RunParts on_;
  NonfiniteSteps nonfinite_;
  StopReason stopping_ = StopReason::none;
  int stop_signal_ = 0;              ///< if the reason is a signal
  bool may_save_at_failure_ = true;  ///< false: the state is kept apart, or the folder is another attempt's
};

}  // namespace penstock
