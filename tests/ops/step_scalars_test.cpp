// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/step_scalars.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "ops/reference/reference.hpp"
#include "support/random_tensor.hpp"

namespace penstock::step_scalars_test {
namespace {

using test::RandomTensors;
using test::Shared;
using test::TestTensor;

constexpr ops::AdamWStep step{
    .learning_rate = 0.25F, .gradient_scale = -7, .first_correction = 2, .second_correction = 3, .apply = false};

Shared<ops::StepInputs> inputs_of(double loss_tokens) {
  return Shared<ops::StepInputs>({.loss_tokens = loss_tokens, .adamw = step});
}

TestTensor totals_of(const reference::Values& values) {
  TestTensor totals(DType::float64, {static_cast<std::int64_t>(values.size())});
  reference::write(totals, values);
  return totals;
}

TEST(FinishStep, HasTheBitsOfTheReference) {
  // Which fixes the order of the sum: of parameters whose squares are of very different size another order differs.
  RandomTensors random;
  Queue queue;
  for (const std::int64_t parameters : {1, 2, 150, 1023, 1024, 3001})
    for (const double clip : {0.0, 1e-3, 1.0, 1e9}) {
      SCOPED_TRACE(fmt::format("{} parameters, clip {}", parameters, clip));
      reference::Values values = reference::read(random.normal(DType::float64, {1 + parameters}));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::abs(values[i]) * (i % 3 == 0 ? 1e6 : 1);
      const TestTensor totals = totals_of(values);
      const Shared<ops::StepInputs> inputs = inputs_of(3000);
      const ops::FinishStep arguments{.totals = totals, .clip = clip, .inputs = inputs.get()};
      const Shared<ops::StepScalars> got, expected;
      got->loss_sum = 5;
      ops::finish_step(queue, arguments, got.get());
      reference::finish_step(arguments, expected.get());
      EXPECT_EQ(got->loss_sum, 5);  // is not its to change
      EXPECT_EQ(got->loss, expected->loss);
      EXPECT_EQ(got->gradient_norm, expected->gradient_norm);
      EXPECT_EQ(got->adamw.learning_rate, expected->adamw.learning_rate);
      EXPECT_EQ(got->adamw.gradient_scale, expected->adamw.gradient_scale);
      EXPECT_EQ(got->adamw.first_correction, expected->adamw.first_correction);
      EXPECT_EQ(got->adamw.second_correction, expected->adamw.second_correction);
      EXPECT_TRUE(got->adamw.apply);
    }
}

TEST(FinishStep, ClipsTheNorm) {
  Queue queue;
  const TestTensor totals = totals_of({12, 9, 16});
  struct Case {
    double clip;
    float scale;
  };
  for (const Case& c : {Case{0, 1}, {2.5, 0.5F}, {5, 1}, {6, 1}}) {
    const Shared<ops::StepScalars> scalars;
    const Shared<ops::StepInputs> inputs = inputs_of(4);
    ops::finish_step(queue, {.totals = totals, .clip = c.clip, .inputs = inputs.get()}, scalars.get());
    EXPECT_EQ(scalars->loss, 3);
    EXPECT_EQ(scalars->gradient_norm, 5);
    EXPECT_EQ(scalars->adamw.gradient_scale, c.scale) << "clip " << c.clip;
    EXPECT_EQ(scalars->adamw.learning_rate, 0.25F);
    EXPECT_EQ(scalars->adamw.first_correction, 2);
    EXPECT_EQ(scalars->adamw.second_correction, 3);
    EXPECT_TRUE(scalars->adamw.apply);
  }
}

TEST(FinishStep, AppliesNothingThatIsNotFinite) {
  Queue queue;
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const reference::Values& values :
       {reference::Values{nan, 1, 1}, {infinity, 1, 1}, {1, nan, 1}, {1, 1, infinity}, {1, 1e308, 1e308}})
    for (const double clip : {0.0, 1.0}) {
      const TestTensor totals = totals_of(values);
      const Shared<ops::StepScalars> got, expected;
      const Shared<ops::StepInputs> inputs = inputs_of(1);
      const ops::FinishStep arguments{.totals = totals, .clip = clip, .inputs = inputs.get()};
      ops::finish_step(queue, arguments, got.get());
      reference::finish_step(arguments, expected.get());
      EXPECT_FALSE(got->adamw.apply) << values[0] << " " << values[1] << " " << values[2];
      EXPECT_FALSE(expected->adamw.apply);
    }
}

TEST(FinishStep, AppliesNothingBehindAStepThatAppliedNothingWhereItNeedsThat) {
  Queue queue;
  const TestTensor good = totals_of({1, 1, 1}), bad = totals_of({1, std::numeric_limits<double>::quiet_NaN(), 1});
  struct Case {
    const TestTensor* last;
    bool needs_the_last, applies;
  };
  for (const Case& c : {Case{&good, true, true}, {&good, false, true}, {&bad, true, false}, {&bad, false, true}}) {
    const Shared<ops::StepScalars> got, expected;
    for (const bool is_last : {true, false}) {
      const Shared<ops::StepInputs> inputs = inputs_of(1);
      inputs->needs_the_last = !is_last && c.needs_the_last;
      const ops::FinishStep arguments{.totals = is_last ? *c.last : good, .clip = 0, .inputs = inputs.get()};
      ops::finish_step(queue, arguments, got.get());
      queue.drain("the step");
      reference::finish_step(arguments, expected.get());
    }
    EXPECT_EQ(got->adamw.apply, c.applies);
    EXPECT_EQ(expected->adamw.apply, c.applies);
  }
}

}  // namespace
}  // namespace penstock::step_scalars_test
