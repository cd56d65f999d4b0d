// SPDX-License-Identifier: Apache-2.0
#include "schedule/measured_costs.hpp"

#include <gtest/gtest.h>

#include "schedule/generate.hpp"
#include "schedule/lower.hpp"

namespace penstock::measured_costs_test {
namespace {

/// Spans of a row whose actions take these seconds, one after the other.
std::vector<Span> spans_of(const std::vector<double>& seconds) {
  std::vector<Span> spans;
  double now = 0;
  for (const double s : seconds) {
    spans.push_back({now, now + s});
    now += s;
  }
  return spans;
}

TEST(MeasuredCosts, AreMediansOverMicrobatchesAndSteps) {
  const std::vector<Action> row{{Work::forward, 0, 0},
                                {Work::forward, 0, 1},
                                {Work::input_gradient, 0, 0},
                                {Work::weight_gradient, 0, 0},
                                {Work::update}};
  MeasuredCosts measured;
  measured.add(row, spans_of({1, 3, 10, 20, 0.5}));
  measured.add(row, spans_of({2, 100, 11, 21, 0.25}));
  measured.add(row, spans_of({2, 1, 12, 22, 0.75}));
  Schedule schedule;
  const std::string text = measured.text();
  const Costs costs = costs_of(schedule, std::vector<std::string>{text});
  EXPECT_EQ(costs.stages[0].forward, 2);
  EXPECT_EQ(costs.stages[0].input_gradient, 11);
  EXPECT_EQ(costs.stages[0].weight_gradient, 21);
  EXPECT_EQ(costs.whole_step.at(Work::update), 0.5);
}

TEST(MeasuredCosts, TheSlowestOfEqualRanksCounts) {
  Schedule schedule;
  schedule.stages = 2;
  const std::vector<std::string> texts{"0F0 1 0B0 6 N 0.1 U 0.3", "0F0 2 0B0 5 N 0.2 U 0.4", "1F0 3 1I0 4 1W0 5 "};
  const Costs costs = costs_of(schedule, texts);
  EXPECT_EQ(costs.stages[0].forward, 2);
  EXPECT_EQ(costs.stages[0].input_gradient, 3);  // a fused backward's halves are alike
  EXPECT_EQ(costs.stages[0].weight_gradient, 3);
  EXPECT_EQ(costs.stages[1].forward, 3);
  EXPECT_EQ(costs.stages[1].input_gradient, 4);
  EXPECT_EQ(costs.stages[1].weight_gradient, 5);
  EXPECT_EQ(costs.whole_step.at(Work::norm), 0.1);  // the other rank waited for this one
  EXPECT_EQ(costs.whole_step.at(Work::update), 0.4);
}

// Rank 1 waits in T until rank 0 comes, which then waits in N until rank 1 has taken up its sum.
TEST(MeasuredCosts, SumsAtTheStepsEndAreThoseOfTheRankThatCameLast) {
  Schedule schedule;
  schedule.stages = 2;
  const std::vector<std::string> texts{"0F0 1 0B0 6 R 0.01 T 0.4 N 0.6 U 1 G 0.3",
                                       "1F0 1 1B0 5 R 0.02 T 8.0 N 0.2 U 1 G 0.1", "R 0.01 N 8.5"};
  const Costs costs = costs_of(schedule, texts);
  EXPECT_EQ(costs.whole_step.at(Work::reduce_gradients), 0.01);
  EXPECT_EQ(costs.whole_step.at(Work::tied_sum), 0.4);
  EXPECT_EQ(costs.whole_step.at(Work::norm), 0.6);
  EXPECT_EQ(costs.whole_step.at(Work::gather_parameters), 0.1);
}

// Those with a tied sum wait in N for the one without.
TEST(MeasuredCosts, NormIsOfTheRankThatCameLastWithoutATiedSum) {
  Schedule schedule;
  schedule.stages = 3;
  const std::vector<std::string> texts{"0F0 1 0B0 6 T 0.4 N 3 U 1", "1F0 1 1B0 9 N 0.2 U 1",
                                       "2F0 1 2B0 5 T 0.5 N 3 U 1"};
  const Costs costs = costs_of(schedule, texts);
  EXPECT_EQ(costs.whole_step.at(Work::tied_sum), 0.4);
  EXPECT_EQ(costs.whole_step.at(Work::norm), 0.2);
}

TEST(MeasuredCosts, WorkOfTheWholeStepLengthensIt) {
  const Schedule schedule =
      lower(generate({.name = ScheduleName::fifo, .pipeline = 2, .microbatches = 4, .backward = Backward::fused}), {});
  Costs costs = equal_costs(schedule, {1, 1, 1}, 0);
  const Simulation without = simulate(schedule, costs);
  costs.whole_step = {{Work::gather_parameters, 0.5}, {Work::update, 2}};
  const Simulation with = simulate(schedule, costs);
  EXPECT_DOUBLE_EQ(with.makespan, without.makespan + 2.5);
  EXPECT_EQ(with.busy, without.busy);
}

}  // namespace
}  // namespace penstock::measured_costs_test
