// SPDX-License-Identifier: Apache-2.0
#pragma once
// StepsUnderWay: the steps that were launched and are not counted yet.

#include <cstdint>
#include <deque>
#include <memory>

#include "data/batch_reader.hpp"
#include "pipeline/executor.hpp"
#include "run/metrics.hpp"
#include "train/first_state.hpp"
#include "train/set_up_run.hpp"

namespace penstock {

/// A launched step with its samples and values.
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

/// Two at most, the oldest first. The number of a step is that of the last counted step plus its place in this queue;
/// its samples and learning rate follow from the number.
class StepsUnderWay {
 public:
  /// References outlive it. `last_step`: of this run attempt.
  StepsUnderWay(World& world, const RunConfig& config, std::int64_t last_step, Executor& executor)
      : world_(&world), config_(&config), last_step_(last_step), executor_(&executor) {}

  /// The position before the next step, and the reader of that step's samples.
  void begin(const TrainingPosition& position, std::unique_ptr<BatchReader> reader);
  /// Sets the number of tokens seen, which metrics.csv knows.
  void correct_tokens(std::int64_t tokens) { position_.tokens = tokens; }

  int under_way() const { return static_cast<int>(launched_.size()); }
  /// The position after the last counted step.
  const TrainingPosition& position() const { return position_; }

  /// Collective: reads the samples of the next step and adds it to the queue; the caller launches it. Throws
  /// CollectiveFailure if the samples cannot be read.
  const LaunchedStep& read_next();
  /// Waits for the oldest step and removes it from the queue. It is not counted yet.
  FinishedStep finish();
  /// Drops the steps that were launched after a step that changed nothing. They have changed nothing either, and are
  /// launched again later.
  void drop();
  /// Counts a finished step, and returns its row of metrics.csv.
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
