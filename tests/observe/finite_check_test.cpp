// SPDX-License-Identifier: Apache-2.0
#include "observe/finite_check.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "device/queue.hpp"

namespace penstock::finite_check_test {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

class FiniteCheckTest : public ::testing::Test {
 protected:
  TensorView tensor(float last) {
    values_ = {1, -2, last};
    return {reinterpret_cast<std::byte*>(values_.data()), DType::float32, {3}};
  }
  void record(std::string_view tap, int microbatch, float last) { check.record(queue, tap, microbatch, tensor(last)); }

  Queue queue;
  static ModelDescription model() { return describe_model({.layers = 8, .width = 8, .heads = 2}); }
  FiniteCheck check{model()};

 private:
  std::vector<float> values_;
};

TEST_F(FiniteCheckTest, FindsNothingWhereAllIsFinite) {
  record("embedding", 0, 3);
  record("blocks.0", 0, std::numeric_limits<float>::max());
  EXPECT_FALSE(check.first());
}

TEST_F(FiniteCheckTest, TheFirstIsTheOneThatCameAboutFirst) {
  // As a rank of a pipeline may come across them: a later microbatch's forward pass before an earlier one's backward
  // pass.
  record("blocks.3", 1, nan);
  record("logits", 0, infinity);
  record("blocks.7.mlp.gradient", 0, nan);
  record("blocks.2.attention", 0, -infinity);
  record("blocks.2.mlp", 0, nan);
  ASSERT_TRUE(check.first());
  EXPECT_EQ(check.first()->tap, "blocks.2.attention");
  EXPECT_EQ(check.first()->microbatch, 0);
  EXPECT_EQ(check.first()->text(), "blocks.2.attention, forward pass");
}

TEST_F(FiniteCheckTest, BackwardGoesFromTheHeadToTheEmbedding) {
  for (const char* tap : {"embedding.gradient", "blocks.1.gradient", "blocks.6.attention.gradient",
                          "blocks.6.mlp.gradient", "blocks.5.gradient"})
    record(tap, 2, nan);
  EXPECT_EQ(check.first()->tap, "blocks.6.mlp.gradient");
  EXPECT_EQ(check.first()->text(), "blocks.6.mlp.gradient, backward pass");
}

TEST_F(FiniteCheckTest, APartOfASumComesBeforeTheTapItIsOnTheWayTo) {
  FiniteCheck other(model());
  check.record_part(queue, tensor(nan));
  record("blocks.4.mlp", 0, nan);
  other.record_part(queue, tensor(1));  // another tensor rank: its part is finite, the sum is not
  other.record(queue, "blocks.4.mlp", 0, tensor(nan));
  EXPECT_LT(*check.first(), *other.first());
  EXPECT_EQ(check.first()->text(), "this rank's part of the sum before blocks.4.mlp, forward pass");
}

TEST(IsFinite, LooksAtBfloat16Too) {
  std::vector<bfloat16> values{bfloat16(1.0F), bfloat16(2.0F)};
  const TensorView view(reinterpret_cast<std::byte*>(values.data()), DType::bfloat16, {2});
  EXPECT_TRUE(is_finite(view));
  values[1] = bfloat16(infinity);
  EXPECT_FALSE(is_finite(view));
}

}  // namespace
}  // namespace penstock::finite_check_test
