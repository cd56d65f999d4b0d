// SPDX-License-Identifier: Apache-2.0
#pragma once
// Predicts the time of a step from the first steps of this run attempt, and compares the later steps with it.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/world.hpp"
#include "pipeline/transfer_times.hpp"
#include "schedule/measured_costs.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// Where the time of one rank's step went, seconds.
struct StepShare {
  double step = 0;           ///< from the step's begin to its end on the device
  double busy = 0;           ///< in F, I, W and B, collectives of the tensor axis inside them included
  double waiting = 0;        ///< for transfers, before an action could begin
  double communication = 0;  ///< in G, R, T and N
};

/// The row's actions and their spans, without their waits.
StepShare share_of(const std::vector<Action>& row, const std::vector<Span>& spans);

class StepForecast {
 public:
  /// Steps of this run attempt, from 1 on: the first two warm up, the next are timed, the later ones are compared with
  /// the prediction.
  static constexpr int first_timed = 3, last_timed = 10;

  /// `schedule` outlives it; `pipeline_rank` is this rank's row.
  StepForecast(const Schedule& schedule, int pipeline_rank) : schedule_(&schedule), pipeline_rank_(pipeline_rank) {}

  /// Collective: takes the spans of this rank's row in the next step. Predicts after the last timed step; then it asks
  /// for the times of transfers together with forward passes of this many seconds.
  void add(World& world, const std::vector<Span>& spans, const std::function<TransferTimes(double)>& measure_transfers);

  /// The prediction, the same on every rank; empty before the last timed step.
  const std::optional<Simulation>& foretold() const { return foretold_; }
  /// The costs behind the prediction.
  const Costs& costs() const { return stage_costs_; }
  /// "a step should take ...": the log line of the prediction.
  std::string text() const;

  /// This rank's line at the end: medians of the steps after the timed ones, with the prediction; empty if there were
  /// none.
  std::string line() const;

 private:
  void foretell(World& world, const std::function<TransferTimes(double)>& measure_transfers);

  const Schedule* schedule_;
  int pipeline_rank_;
  int steps_ = 0;
  MeasuredCosts costs_;
  Costs stage_costs_;
  std::optional<Simulation> foretold_;
  std::vector<StepShare> later_;
};

}  // namespace penstock
