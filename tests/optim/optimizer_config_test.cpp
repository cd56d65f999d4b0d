// SPDX-License-Identifier: Apache-2.0
#include "optim/optimizer_config.hpp"

#include <gtest/gtest.h>

#include <numbers>

#include "base/error.hpp"

namespace penstock::optimizer_config_test {
namespace {

OptimizerConfig config_with(const std::string& decay, std::int64_t warmup) {
  OptimizerConfig config;
  config.learning_rate = 6e-4;
  config.decay = decay;
  config.warmup = warmup;
  config.final = 0.1;
  return config;
}

TEST(LearningRate, RisesInEqualStepsToThePeakAtTheEndOfTheWarmup) {
  const OptimizerConfig config = config_with("cosine", 20);
  for (int step = 1; step <= 20; ++step) EXPECT_DOUBLE_EQ(learning_rate(config, step, 100), 6e-4 * step / 20.0) << step;
}

TEST(LearningRate, EndsAtTheFinalShareAtTheLastStep) {
  for (const char* decay : {"cosine", "linear"})
    for (const std::int64_t warmup : {0, 1, 20})
      EXPECT_DOUBLE_EQ(learning_rate(config_with(decay, warmup), 100, 100), 6e-5) << decay;
}

TEST(LearningRate, FollowsTheCosine) {
  const OptimizerConfig config = config_with("cosine", 20);
  EXPECT_DOUBLE_EQ(learning_rate(config, 60, 100), 6e-4 * (0.1 + 0.9 * 0.5)) << "half-way";
  EXPECT_DOUBLE_EQ(learning_rate(config, 40, 100), 6e-4 * (0.1 + 0.9 * 0.5 * (1 + std::numbers::sqrt2 / 2)))
      << "a quarter of the way";
  EXPECT_DOUBLE_EQ(learning_rate(config, 80, 100), 6e-4 * (0.1 + 0.9 * 0.5 * (1 - std::numbers::sqrt2 / 2)));
}

TEST(LearningRate, FollowsTheLine) {
  const OptimizerConfig config = config_with("linear", 20);
  EXPECT_DOUBLE_EQ(learning_rate(config, 40, 100), 6e-4 * (0.1 + 0.9 * 0.75));
  EXPECT_DOUBLE_EQ(learning_rate(config, 99, 100), 6e-4 * (0.1 + 0.9 / 80.0));
}

TEST(LearningRate, NeverRisesAfterTheWarmup) {
  for (const char* decay : {"cosine", "linear"}) {
    const OptimizerConfig config = config_with(decay, 7);
    for (int step = 8; step <= 300; ++step)
      EXPECT_LT(learning_rate(config, step, 300), learning_rate(config, step - 1, 300)) << decay << " at step " << step;
  }
}

TEST(LearningRate, StaysWithinItsBoundsInOddCases) {
  EXPECT_DOUBLE_EQ(learning_rate(config_with("cosine", 0), 1, 1), 6e-5) << "the only step is the last";
  EXPECT_DOUBLE_EQ(learning_rate(config_with("linear", 100), 100, 100), 6e-4)
      << "a warmup as long as the run ends at the peak";
  EXPECT_DOUBLE_EQ(learning_rate(config_with("linear", 1000), 100, 100), 6e-5)
      << "a warmup longer than the run: a tenth of the way up";
  EXPECT_DOUBLE_EQ(learning_rate(config_with("cosine", 0), 500, 100), 6e-5) << "behind the end it stays";
  OptimizerConfig constant = config_with("cosine", 0);
  constant.final = 1;
  EXPECT_DOUBLE_EQ(learning_rate(constant, 37, 100), 6e-4);
}

OptimizerConfig config_with_plateau(const std::string& shape) {
  OptimizerConfig config = config_with("wsd", 20);
  config.decay_steps = 16;
  config.decay_shape = shape;
  return config;
}

TEST(LearningRate, APlateauDoesNotDependOnTheStepsOfTheRun) {
  for (const char* shape : {"linear", "sqrt"}) {
    const OptimizerConfig config = config_with_plateau(shape);
    EXPECT_DOUBLE_EQ(learning_rate(config, 10, 100), 3e-4);
    for (const std::int64_t steps : {100, 200, 10000})
      for (std::int64_t step = 20; step <= 84; ++step)
        EXPECT_DOUBLE_EQ(learning_rate(config, step, steps), 6e-4) << step;
    EXPECT_LT(learning_rate(config, 85, 100), 6e-4);
    EXPECT_DOUBLE_EQ(learning_rate(config, 85, 200), 6e-4);
    EXPECT_DOUBLE_EQ(learning_rate(config, 100, 100), 6e-5);
  }
}

TEST(LearningRate, FallsFromThePlateauInItsShape) {
  EXPECT_DOUBLE_EQ(learning_rate(config_with_plateau("linear"), 88, 100), 6e-4 * (0.1 + 0.9 * 0.75));
  EXPECT_DOUBLE_EQ(learning_rate(config_with_plateau("sqrt"), 88, 100), 6e-4 * (0.1 + 0.9 * 0.5));
  EXPECT_DOUBLE_EQ(learning_rate(config_with_plateau("sqrt"), 93, 100), 6e-4 * (0.1 + 0.9 * 0.25));
  EXPECT_THROW(learning_rate(config_with_plateau("round"), 93, 100), LogicError);
}

TEST(LearningRate, NoOtherCurveTakesThePlaceOfAnUnknownOne) {
  EXPECT_THROW(learning_rate(config_with("exponential", 0), 10, 100), LogicError);
}

}  // namespace
}  // namespace penstock::optimizer_config_test
