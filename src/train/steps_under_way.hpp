// SPDX-License-Identifier: Apache-2.0
#pragma once
// StepsUnderWay: the steps that the device has been given and that nobody has counted yet.

#include <cstdint>
#include <deque>
#include <memory>

#include "data/batch_reader.hpp"
#include "pipeline/executor.hpp"
#include "run/metrics.hpp"
#include "train/first_state.hpp"
#include "train/set_up_run.hpp"

namespace penstock {

/// A step with what it works on, as the device is given it.
struct LaunchedStep {
  StepBatch batch;
  StepValues values;
};

/// A step that the device has done.
struct FinishedStep {
  StepBatch batch;
  StepValues values;
  StepResult result;
};

/// Two at most, the oldest first. Each has the samples and the learning rate of its own number: that of the last step
/// that was counted, and its place in the line.
class StepsUnderWay {
 public:
  /// References outlive it. `last_step`: of this run attempt.
  StepsUnderWay(World& world, const RunConfig& config, std::int64_t last_step, Executor& executor)
      : world_(&world), config_(&config), last_step_(last_step), executor_(&executor) {}

  /// Where training stands before the next step, and where that step's samples come from.
  void begin(const TrainingPosition& position, std::unique_ptr<BatchReader> reader);
  /// What metrics.csv says of the tokens seen.
  void correct_tokens(std::int64_t tokens) { position_.tokens = tokens; }

  int under_way() const { return static_cast<int>(launched_.size()); }
  /// Of the steps that were counted.
  const TrainingPosition& position() const { return position_; }

  /// Collective: the step after those under way, which the executor is to be given now. Throws CollectiveFailure where
  /// its samples cannot be read.
  const LaunchedStep& read_next();
  /// Waits for the oldest step and takes it out of the line. It is not counted yet.
  FinishedStep finish();
  /// Drops steps that were launched after one that changed nothing: they have changed nothing either, and come again.
  void drop();
  /// The step that was finished counts: its row of metrics.csv.
  MetricsRow count(const FinishedStep& step, double seconds);

 private:
  World* world_;
  const RunConfig* config_;
  std::int64_t last_step_;
  Executor* executor_;
  std::unique_ptr<BatchReader> reader_;
  TrainingPosition position_;
  std::deque<LaunchedStep> launched_;
};

}  // namespace penstock
