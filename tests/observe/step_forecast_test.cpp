// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1
#include "observe/step_forecast.hpp"

#include <gtest/gtest.h>

#include "schedule/generate.hpp"
#include "schedule/lower.hpp"
#include "support/test_world.hpp"

namespace penstock::step_forecast_test {
namespace {

/// A row's spans where each action begins as the one before ends: computing takes 2, work of the whole step 1.
std::vector<Span> spans_of(const std::vector<Action>& row, double factor) {
  std::vector<Span> spans;
  double now = 0;
  for (const Action& action : row) {
    const double took = factor * (is_compute(action.work) ? 2 : is_whole_step(action.work) ? 1 : 0);
    spans.push_back({now, now + took});
    now += took;
  }
  return spans;
}

TransferTimes no_transfers(double) { return {}; }

TEST(StepShare, SeparatesComputingWaitingAndCommunication) {
  const std::vector<Action> row{
      {Work::gather_parameters}, {Work::forward, 0, 0}, {Work::backward, 0, 0}, {Work::norm}, {Work::update}};
  const StepShare share = share_of(row, std::vector<Span>{{0, 1}, {3, 5}, {5, 9}, {10, 10.5}, {10.5, 11}});
  EXPECT_EQ(share.step, 11);
  EXPECT_EQ(share.busy, 6);
  EXPECT_EQ(share.waiting, 3);
  EXPECT_EQ(share.communication, 1.5);
}

TEST(StepForecast, ForetellsFromItsTimedStepsAndHoldsTheLaterOnesAgainstIt) {
  const Schedule schedule = lower(generate({.pipeline = 1, .microbatches = 2}), {});
  StepForecast forecast(schedule, 0);
  const std::vector<Action>& row = schedule.row(0);
  for (int step = 1; step <= StepForecast::last_timed; ++step) {
    EXPECT_FALSE(forecast.foretold().has_value());
    forecast.add(test_world(), spans_of(row, step < StepForecast::first_timed ? 100 : 1),
                 no_transfers);  // warming up does not count
  }
  ASSERT_TRUE(forecast.foretold().has_value());
  const double expected = spans_of(row, 1).back().end;
  EXPECT_DOUBLE_EQ(forecast.foretold()->makespan, expected);
  EXPECT_EQ(forecast.line(), "");
  forecast.add(test_world(), spans_of(row, 2), no_transfers);
  EXPECT_NE(forecast.line().find(fmt::format("a step took {:.6f} s (predicted {:.6f})", 2 * expected, expected)),
            std::string::npos)
      << forecast.line();
}

TEST(StepForecast, CountsAHopForEachTransfer) {
  const Schedule schedule = lower(generate({.pipeline = 2, .microbatches = 2}), {});
  const auto makespan = [&](double hop) {
    StepForecast forecast(schedule, 0);
    double asked = 0;
    for (int step = 1; step <= StepForecast::last_timed; ++step)
      forecast.add(test_world(), spans_of(schedule.row(0), 1), [&](double computing_seconds) {
        asked = computing_seconds;
        return TransferTimes{.hop = hop, .overhead = hop / 8};
      });
    EXPECT_DOUBLE_EQ(asked, 1) << "the mean of a stage that was timed, 2, and one that was not";
    EXPECT_NEAR(forecast.costs().hop, hop, 1e-9);
    EXPECT_NEAR(forecast.costs().overhead, hop / 8, 1e-9);
    return forecast.foretold()->makespan;
  };
  EXPECT_GT(makespan(5), makespan(0)) << "longer than the other microbatch's forward pass hides";
}

}  // namespace
}  // namespace penstock::step_forecast_test
