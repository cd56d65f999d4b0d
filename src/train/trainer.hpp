// SPDX-License-Identifier: Apache-2.0
#pragma once
// Trainer: sets a run up, and the step loop.

#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/warning_limit.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/writers.hpp"
#include "comm/communicators.hpp"
#include "data/batch_reader.hpp"
#include "observe/capture_recorder.hpp"
#include "observe/nonfinite_steps.hpp"
#include "observe/speed_watch.hpp"
#include "observe/step_forecast.hpp"
#include "observe/step_report.hpp"
#include "observe/step_tracer.hpp"
#include "pipeline/executor.hpp"
#include "plan/restart_check.hpp"
#include "plan/run_config.hpp"
#include "plan/step_agenda.hpp"
#include "run/metrics.hpp"
#include "run/product_choices.hpp"
#include "run/run_folder.hpp"
#include "run/saver.hpp"
#include "run/stop_check.hpp"
#include "run/weights_source.hpp"
#include "storage/run_guard.hpp"
#include "train/train_request.hpp"

namespace penstock {

/// All that is read and checked before anything is written; the same on every rank.
struct RunSetup {
  RunDeck deck;
  Mesh mesh{{}};
  ModelPlan plan;
  int threads = 1;  ///< of this rank: the one value that is its own
  TokenFileHeader train_header;
  std::string data;  ///< what identifies it: json_of a DataIdentity
  std::optional<TokenFileHeader> validation_header;
  std::filesystem::path train_file, validation_file;  ///< where tokens are read: data.stage puts them on the node
  std::filesystem::path run;
  std::optional<WeightsSource> weights;  ///< that step 0 begins with; none: drawn from run.seed
};

/// Collective. Throws CollectiveFailure with one message.
RunSetup set_up_run(World& world, const TrainRequest& request);

/// Exit codes of a life that ended well.
inline constexpr int exit_done = 0;
inline constexpr int exit_stopped = 75;

class Trainer {
 public:
  /// Collective: makes the run folder, takes its guard, and brings the state of step 0 or of a checkpoint.
  Trainer(World& world, StopRequest& stop, RunSetup setup, const std::optional<std::string>& restart);

  /// Trains up to run.steps, run.stop or a stop request; the exit code. Every life ends with a checkpoint.
  int run();

 private:
  /// A step that the device has been given.
  struct LaunchedStep {
    StepBatch batch;
    StepValues values;
  };

  ProductChoices choose_products(const std::optional<std::string>& restart);
  ProductChoices known_or_measured_choices(const std::optional<std::string>& restart);
  std::string choices_of_checkpoint(const std::optional<std::string>& restart);
  void refuse_steps_of_another_run(const std::optional<std::string>& restart) const;
  std::unique_ptr<RunGuard> guard_run_folder(const std::optional<std::string>& restart);
  std::unique_ptr<RunGuard> take_guard();
  void start_state(const std::optional<std::string>& restart);
  void go_on_from(const std::filesystem::path& checkpoint, bool verified);
  void begin_with_weights();
  void warn_of_changes(const RestartCheck& check) const;
  void stage_data();
  void open_reader();
  void refuse_to_change_what_is_anothers() const;
  bool others_saved_meanwhile(const std::optional<std::string>& restart);
  void begin_life(const std::optional<std::string>& restart);
  void remove_empty(const std::vector<std::filesystem::path>& made);
  void write_first_files();
  std::optional<std::filesystem::path> checkpoint_to_load(const std::string& restart);
  void refuse_an_end_before(std::int64_t step) const;
  void refuse_an_end_before_all() const;
  bool saved_in_this_folder(std::int64_t step) const;
  void keep_failures();
  void watch_speeds();
  void introduce() const;
  void list_ranks() const;
  void tell_memory() const;

  int train_or_fail_together();
  int train();
  MetricsRow step();
  /// Enqueues the step behind those under way.
  void launch_next();
  /// Whether nothing has to happen between the step under way and the next one.
  bool may_run_ahead() const;
  LaunchedStep take_oldest();
  MetricsRow count(const StepValues& values, const StepResult& result, double seconds);
  void drop_ahead();
  void settle();
  void time_step(Clock::time_point begin);
  void warn(const std::vector<Warning>& warnings);
  void warn_of_the_rest();
  void write_costs() const;
  void tell_steps() const;
  void report_evaluated(MetricsRow row);
  void report(const MetricsRow& row);
  double evaluate();
  StepTokens tokens_of(const StepBatch& batch) const;
  Saver::Options saving();
  CheckpointMeta meta() const;
  void save();
  void save_last();
  void write_capture(const CaptureRecorder& recorder, const StepTokens& tokens);
  bool folder_lost() const;
  void record(LifeEnd end, int exit_code, const std::string& message, std::string_view reason = "");
  bool save_due() const;
  /// All ranks agree what asks to stop: a rank's signal, or what rank 0 sees.
  StopReason stop_agreed();
  [[noreturn]] void end_without_folder();
  [[noreturn]] void end_with_lost_state();
  void record_good_end();
  int finish();
  /// Whether the update of a step that is not finite was skipped; throws CollectiveFailure where the run has to end.
  bool skips_nonfinite(const LaunchedStep& step, StepResult& result);
  std::string keep_evidence();

  World* world_;
  RunSetup setup_;
  const RunConfig& config_;
  StepAgenda agenda_;
  MeshPlace place_;
  RunFolder folder_;
  IoThread io_;
  std::unique_ptr<RunGuard> guard_;  ///< rank 0
  std::int64_t newest_seen_ = -1;  ///< rank 0: the step of the newest checkpoint, whole or not, when it was looked for
  StopCheck stop_check_;
  Queue queue_;
  Communicators communicators_;
  Writers writers_;
  ProductChoices product_choices_;
  Arena arena_;
  std::unique_ptr<RankModel> model_;
  Executor executor_;
  std::vector<ParameterLayout> layouts_;  ///< of every rank
  std::int64_t step_ = 0;                 ///< updates done
  std::uint64_t samples_ = 0;             ///< that they have seen
  std::int64_t tokens_ = 0;               ///< likewise; samples of earlier lives may have been shorter or longer
  std::deque<LaunchedStep> launched_;     ///< under way: the oldest first, two at most
  std::optional<BatchReader> reader_;
  std::optional<Metrics> metrics_;      ///< rank 0
  std::optional<StepReport> progress_;  ///< rank 0
  WarningLimit warning_limit_;          ///< rank 0
  std::optional<Saver> saver_;
  StepForecast forecast_;
  double measuring_seconds_ = 0;  ///< of this step, that no other step takes
  NonfiniteSteps nonfinite_;
  std::optional<LinkProbe> links_;
  std::optional<SpeedWatch> speeds_;  ///< none where times would say nothing
  std::optional<StepTracer> tracer_;
  StopReason stopping_ = StopReason::none;
  int stop_signal_ = 0;        ///< where that is a signal
  bool has_evidence_ = false;  ///< the state of the end is kept apart
  bool guard_lost_ = false;    ///< another life has the folder: nothing more may be written
};

}  // namespace penstock
