// SPDX-License-Identifier: Apache-2.0
#include "schedule/simulate.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "base/error.hpp"
#include "schedule/csv.hpp"
#include "schedule/lower.hpp"
#include "schedule/tables.hpp"

namespace penstock::simulate_test {
namespace {

/// Sums of a few hundred costs of about 1: far below any cost, far above their rounding.
constexpr double rounding = 1e-9;

Simulation simulated(const Schedule& schedule, const StageCosts& whole, double hop) {
  const Schedule lowered = lower(schedule);
  return simulate(lowered, equal_costs(lowered, whole, hop));
}

double to_four_digits(double value) { return std::round(value * 1e4) / 1e4; }

/// What every rank waits in a step without hops, where there is a closed form.
std::optional<double> expected_idle(const ScheduleRequest& r, const StageCosts& costs) {
  const double fused = r.backward == Backward::fused ? costs.weight_gradient : 0;
  const double there_and_back = (r.pipeline - 1) * (costs.forward + costs.input_gradient + fused);
  const bool narrow = r.backward == Backward::fused || costs.weight_gradient <= costs.forward;
  switch (r.name) {
    case ScheduleName::fifo:
    case ScheduleName::one_forward_one_backward:
      return there_and_back;
    case ScheduleName::ring:
      if (r.microbatches % r.pipeline == 0 && narrow) return there_and_back / r.chunks;
      return std::nullopt;
    case ScheduleName::breadth_first:
      if (r.microbatches >= r.pipeline && narrow) return there_and_back / r.chunks;
      return std::nullopt;
    case ScheduleName::zb_h1:
      if (r.microbatches >= r.pipeline && costs.weight_gradient <= costs.input_gradient)
        return (r.pipeline - 1) * (costs.forward + costs.input_gradient - costs.weight_gradient);
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::vector<double> starts_of_forwards(const Schedule& schedule, const Simulation& simulation, int rank) {
  std::vector<double> starts;
  for (std::size_t i = 0; i < schedule.row(rank).size(); ++i)
    if (schedule.row(rank)[i].work == Work::forward)
      starts.push_back(simulation.spans[static_cast<std::size_t>(rank)][i].start);
  return starts;
}

// The second rank waits for the first message, and computes while the others come.
TEST(Simulate, OverheadKeepsTheSenderAndAReceiverThatDidNotWait) {
  const Schedule schedule = lower(generate({.name = ScheduleName::fifo, .pipeline = 2, .microbatches = 3}));
  const Simulation simulation = simulate(schedule, {.stages = {{1, 1, 1}, {2, 1, 1}}, .hop = 0.5, .overhead = 0.25});
  EXPECT_EQ(starts_of_forwards(schedule, simulation, 0), (std::vector<double>{0, 1.25, 2.5}));
  EXPECT_EQ(starts_of_forwards(schedule, simulation, 1), (std::vector<double>{1.5, 3.75, 6}));
}

TEST(Simulate, ZeroBubbleWaitsForItsFirstMicrobatchOnly) {
  for (const int p : {2, 3, 4, 8})
    for (int m = 2 * p - 1; m <= 2 * p + 8; ++m) {
      const auto idle = [&](ScheduleName name) {
        return simulated(generate({.name = name, .pipeline = p, .microbatches = m}), {1, 1, 1}, 0).makespan - 3 * m;
      };
      EXPECT_NEAR(idle(ScheduleName::zb_h2), p - 1, rounding) << p << " " << m;
      EXPECT_NEAR(idle(ScheduleName::zb_v), 0.5 * (p - 1), rounding) << p << " " << m;
    }
}

TEST(Simulate, IdleTimeFollowsTheClosedForms) {
  const StageCosts costs{1.25, 1.5, 0.75};
  int compared = 0;
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 16)) {
    const Simulation result = simulated(generate(request), costs, 0);
    EXPECT_NEAR(result.bubble_rate, 1 - request.microbatches * costs.sum() / result.makespan, rounding);
    const std::optional<double> waited = expected_idle(request, costs);
    if (!waited) continue;
    ++compared;
    for (const double idle : result.idle) EXPECT_NEAR(idle, *waited, rounding) << test::title(request);
    EXPECT_NEAR(result.makespan, request.microbatches * costs.sum() + *waited, rounding) << test::title(request);
  }
  EXPECT_GT(compared, 800);
}

TEST(Simulate, ClosedFormsHoldForOtherCostsToo) {
  for (const StageCosts& costs : {StageCosts{1, 1, 1}, StageCosts{1, 0.4, 2}, StageCosts{0.5, 3, 0.1}})
    for (const Backward backward : {Backward::fused, Backward::split}) {
      const Simulation result = simulated(generate({.pipeline = 4, .microbatches = 9, .backward = backward}), costs, 0);
      const double waited =
          costs.forward + costs.input_gradient + (backward == Backward::fused ? costs.weight_gradient : 0);
      for (const double idle : result.idle) EXPECT_NEAR(idle, 3 * waited, rounding);
    }
}

// Zero Bubble, arXiv 2401.10241: 1.5B parameters, 8 stages, milliseconds.
TEST(Simulate, ThePapersFigures) {
  const StageCosts costs{18.522, 18.086, 9.337};
  const auto rate = [&](ScheduleName name, Backward backward) {
    return simulated(generate({.name = name, .pipeline = 8, .microbatches = 24, .backward = backward}), costs, 0.601)
        .bubble_rate;
  };
  EXPECT_EQ(to_four_digits(rate(ScheduleName::one_forward_one_backward, Backward::fused)), 0.2431);
  EXPECT_EQ(to_four_digits(rate(ScheduleName::one_forward_one_backward, Backward::split)), 0.1936);
  EXPECT_EQ(to_four_digits(rate(ScheduleName::zb_h1, Backward::split)), 0.1585);
  // Not from the paper: the last rank waits at least 7 (F + hop) and 7 (F / 2 + hop), in addition to 24 (F + I + W).
  EXPECT_EQ(to_four_digits(rate(ScheduleName::zb_h2, Backward::split)), 0.1083);
  EXPECT_EQ(to_four_digits(rate(ScheduleName::zb_v, Backward::split)), 0.0728);
}

TEST(Simulate, NobodyWaitsForTheInputGradientOfStageZero) {
  const StageCosts costs{18.522, 18.086, 9.337};
  const Schedule fused_there = generate({.pipeline = 8, .microbatches = 24});
  Schedule split_there = fused_there;
  split_there.rows[0].clear();
  for (const Action& action : fused_there.row(0))
    for (const Action& part : action.work == Work::backward
                                  ? std::vector<Action>{{Work::input_gradient, 0, action.microbatch},
                                                        {Work::weight_gradient, 0, action.microbatch}}
                                  : std::vector<Action>{action})
      split_there.rows[0].push_back(part);
  EXPECT_NEAR(simulated(split_there, costs, 0.601).makespan, simulated(fused_there, costs, 0.601).makespan, rounding);
}

TEST(Simulate, AHopDelaysOnlyItsReceiver) {
  const Schedule lowered = lower(generate({.pipeline = 2, .microbatches = 1, .backward = Backward::fused}));
  const Simulation result = simulate(lowered, equal_costs(lowered, {1, 2, 3}, 0.25));
  // rank 0: G 0F0 0F0>1 0I0<1 0B0 R N U     rank 1: G 1F0<0 1F0 1B0 1I0>0 R N U
  EXPECT_EQ(result.spans[0][1].end, 1);
  EXPECT_EQ(result.spans[0][2].start, 1);
  EXPECT_EQ(result.spans[0][2].end, 1);
  EXPECT_EQ(result.spans[1][1].end, 1.25);
  EXPECT_EQ(result.spans[1][2].start, 1.25);
  EXPECT_EQ(result.spans[1][3].end, 7.25);
  EXPECT_EQ(result.spans[1][5].end, 7.25);  // R of rank 1 does not wait for rank 0,
  EXPECT_EQ(result.spans[0][4].start, 7.5);
  EXPECT_EQ(result.spans[1][6].end, 12.5);  // its N does
  EXPECT_EQ(result.makespan, 12.5);
  EXPECT_EQ(result.idle[0], 6.5);
}

TEST(Simulate, AChunkCostsItsShareOfAStage) {
  const Schedule chunked = test::looped_table(2, 2, 2, true);
  const Simulation result = simulated(chunked, {1, 1, 1}, 0);
  EXPECT_NEAR(result.busy[0], 2 * 3, rounding);         // two microbatches through what one stage costs whole
  EXPECT_NEAR(result.makespan, 2 * 3 + 1.5, rounding);  // (p-1)(F+I+W)/v
}

TEST(Simulate, StagesMayCostDifferently) {
  const Schedule lowered = lower(generate({.pipeline = 2, .microbatches = 2, .backward = Backward::fused}));
  const Simulation result = simulate(lowered, {{{1, 1, 1}, {2, 2, 2}}, 0});
  EXPECT_EQ(result.makespan, 1 + 2 * 6 + 2);  // the slow stage never waits once it has begun
  EXPECT_EQ(result.busy, (std::vector<double>{6, 12}));
  EXPECT_NEAR(result.bubble_rate, 1 - 18.0 / 30.0, rounding);
}

TEST(Simulate, SpansKeepTheRowsOrderOnTheComputingLane) {
  for (const ScheduleRequest& request : test::requests({2, 4}, 6)) {
    const Schedule lowered = lower(generate(request));
    const Simulation result = simulate(lowered, equal_costs(lowered, {1, 2, 0.5}, 0.1));
    for (std::size_t rank = 0; rank < lowered.rows.size(); ++rank) {
      double end = 0;
      for (std::size_t i = 0; i < lowered.rows[rank].size(); ++i) {
        if (!is_compute(lowered.rows[rank][i].work)) continue;
        EXPECT_GE(result.spans[rank][i].start, end);
        end = result.spans[rank][i].end;
      }
    }
  }
}

TEST(Simulate, RefusesCostsThatAreNone) {
  const Schedule lowered = lower(generate({}));
  EXPECT_THROW(simulate(lowered, equal_costs(lowered, {-1, 1, 1}, 0)), InputError);
  EXPECT_THROW(simulate(lowered, equal_costs(lowered, {1, NAN, 1}, 0)), InputError);
  EXPECT_THROW(simulate(lowered, equal_costs(lowered, {1, 1, 1}, -0.5)), InputError);
  EXPECT_THROW(simulate(lowered, equal_costs(lowered, {0, 0, 0}, 1)), InputError);
  EXPECT_THROW(simulate(generate({}), equal_costs(lowered, {1, 1, 1}, 0)), LogicError);
}

}  // namespace
}  // namespace penstock::simulate_test
