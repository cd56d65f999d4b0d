// SPDX-License-Identifier: Apache-2.0
#include "plan/step_agenda.hpp"

#include <gtest/gtest.h>

namespace penstock::step_agenda_test {
namespace {

/// Thirty steps; saves and evaluations as the test says.
RunConfig config_of(std::int64_t saved_every, std::int64_t evaluated_every) {
  RunConfig config;
  config.run.steps = 30;
  config.checkpoint.every = saved_every;
  config.validation.every = evaluated_every;
  return config;
}

std::vector<std::int64_t> steps_that_end_a_chain(const StepAgenda& agenda) {
  std::vector<std::int64_t> steps;
  for (std::int64_t step = 1; step <= agenda.last_step(); ++step)
    if (!agenda.leads_on(step)) steps.push_back(step);
  return steps;
}

TEST(StepAgenda, ALifeEndsAtStopWhereThatComesFirst) {
  RunConfig config = config_of(0, 0);
  const StepAgenda agenda(config, false);
  EXPECT_EQ(agenda.last_step(), 30);
  config.run.stop = 12;
  EXPECT_EQ(agenda.last_step(), 12);
  config.run.stop = 40;
  EXPECT_EQ(agenda.last_step(), 30);
}

TEST(StepAgenda, NothingIsEvaluatedWithoutAFile) {
  const RunConfig config = config_of(0, 10);
  const StepAgenda with(config, true), without(config, false);
  for (std::int64_t step = 1; step <= 30; ++step) {
    EXPECT_EQ(with.evaluates(step), step % 10 == 0) << step;
    EXPECT_FALSE(without.evaluates(step)) << step;
  }
}

TEST(StepAgenda, TheLastStepIsEvaluatedWhereNoOtherIs) {
  const RunConfig config = config_of(0, 0);
  EXPECT_TRUE(StepAgenda(config, true).evaluates(30));
  EXPECT_FALSE(StepAgenda(config, true).evaluates(10));
}

TEST(StepAgenda, AStepLeadsOnUnlessSomethingIsToBeDoneBehindIt) {
  const RunConfig plain = config_of(0, 0), busy = config_of(12, 10);
  EXPECT_EQ(steps_that_end_a_chain({plain, false}), (std::vector<std::int64_t>{30}));
  EXPECT_EQ(steps_that_end_a_chain({busy, true}), (std::vector<std::int64_t>{10, 12, 20, 24, 30}));
}

TEST(StepAgenda, AStepThatIsCapturedStandsAlone) {
  RunConfig config = config_of(0, 0);
  config.capture.steps = {1, 9, 10};
  const StepAgenda agenda(config, false);
  EXPECT_TRUE(agenda.captures(9));
  EXPECT_FALSE(agenda.captures(8));
  EXPECT_EQ(steps_that_end_a_chain(agenda), (std::vector<std::int64_t>{1, 8, 9, 10, 30}));
}

}  // namespace
}  // namespace penstock::step_agenda_test
