// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a step should take, foretold from the first steps of this life, and beside it what the later ones took.

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

/// The row's actions and their spans, without what they waited for.
StepShare share_of(const std::vector<Action>& row, const std::vector<Span>& spans);

class StepForecast {
 public:
  /// Steps of this life, from 1 on: the first two warm up, the next are timed, the later ones are held against it.
  static constexpr int first_timed = 3, last_timed = 10;

  /// `schedule` outlives it; `pipeline_rank` is this rank's row.
  StepForecast(const Schedule& schedule, int pipeline_rank) : schedule_(&schedule), pipeline_rank_(pipeline_rank) {}

  /// Collective: takes the spans of this rank's row in the next step. Foretells behind the last timed step, when it
  /// asks for the times of transfers beside forward passes of so many seconds.
  void add(World& world, const std::vector<Span>& spans, const std::function<TransferTimes(double)>& measure_transfers);

  /// What was foretold, by the same rule on every rank; empty before the last timed step.
  const std::optional<Simulation>& foretold() const { return foretold_; }
  /// What it was foretold from; of the same moment.
  const Costs& costs() const { return stage_costs_; }
  /// "a step should take ...": what a log says once it is foretold.
  std::string text() const;

  /// This rank's line at the end: medians of the steps behind the timed ones beside what was foretold; empty where
  /// there were none.
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
