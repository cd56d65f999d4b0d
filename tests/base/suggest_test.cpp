// SPDX-License-Identifier: Apache-2.0
#include "base/suggest.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.hpp"

namespace penstock::suggest_test {
namespace {

TEST(Suggest, EditDistanceCountsInsertDeleteReplaceAndSwap) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("layers", "layer"), 1u);
  EXPECT_EQ(edit_distance("layers", "lavers"), 1u);
  EXPECT_EQ(edit_distance("layers", "alyers"), 1u);
  EXPECT_EQ(edit_distance("1b1f", "1f1b"), 2u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("Layers", "LAYERS"), 0u);
}

TEST(Suggest, NearestTakesTheFirstOfEquallyNear) {
  const std::vector<std::string> known{"data", "pipeline", "tensor", "tensors"};
  EXPECT_EQ(nearest("tensr", known), "tensor");
  EXPECT_EQ(nearest("TENSOR", known), "tensor");
  EXPECT_EQ(nearest("pipe", known), "data");  // 4 letters from both: the first
  EXPECT_EQ(nearest("word", std::vector<std::string>{}), "");
}

TEST(Suggest, NearestKeyLooksAtTheNameBeforeTheSection) {
  const std::vector<std::string> known{"run.steps", "trace.steps", "optimizer.beta1", "mesh.tensor", "model.heads"};
  EXPECT_EQ(nearest_key("optimizer.steps", known), "run.steps");
  EXPECT_EQ(nearest_key("trace.step", known), "trace.steps");
  EXPECT_EQ(nearest_key("tensor", known), "mesh.tensor");
  EXPECT_EQ(nearest_key("trase.steps", known), "trace.steps");
  EXPECT_EQ(nearest_key("modle.heads", known), "model.heads");
}

TEST(Suggest, ChoicesAsText) {
  EXPECT_EQ(choice_text(std::vector<std::string>{}), "");
  EXPECT_EQ(choice_text(std::vector<std::string>{"a"}), "a");
  EXPECT_EQ(choice_text(std::vector<std::string>{"a", "b"}), "a or b");
  EXPECT_EQ(choice_text(std::vector<std::string>{"a", "b", "c"}), "a, b or c");
}

TEST(Suggest, DivisorsAsText) {
  EXPECT_EQ(divisors_text(1), "1");
  EXPECT_EQ(divisors_text(7), "1 or 7");
  EXPECT_EQ(divisors_text(12), "1, 2, 3, 4, 6 or 12");
  EXPECT_EQ(divisors_text(36), "1, 2, 3, 4, 6, 9, 12, 18 or 36");
  EXPECT_THROW(divisors_text(0), LogicError);
}

}  // namespace
}  // namespace penstock::suggest_test
