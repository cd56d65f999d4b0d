// SPDX-License-Identifier: Apache-2.0
#include "observe/outliers.hpp"

#include <gtest/gtest.h>

namespace penstock::outliers_test {
namespace {

TEST(Outliers, OnlyWhatIsSlowerThanTheToleranceStandsOut) {
  const std::vector<Outlier> found = outliers({10, 10.9, 9, 14, 10}, 1.1);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].index, 3U);
  EXPECT_DOUBLE_EQ(found[0].times_the_median, 1.4);
  EXPECT_TRUE(outliers({10, 10, 1}, 1.1).empty()) << "who is fast does not make the others slow";
}

TEST(Outliers, OfTwoTheSlowerCanStandOut) {
  const std::vector<Outlier> found = outliers({10, 30}, 1.1);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].index, 1U);
}

TEST(Outliers, WhatWasNotMeasuredIsLeftOut) {
  EXPECT_TRUE(outliers({0, 0, 5, 5}, 1.1).empty());
  EXPECT_TRUE(outliers({}, 1.1).empty());
  EXPECT_EQ(outliers({0, 0, 0, 5, 9}, 1.1).size(), 1U);
}

TEST(Outliers, OnlyEqualWorkIsCompared) {
  // GPT-2 124M on two pipeline ranks: the first has the embedding, the last the head.
  EXPECT_TRUE(outliers_of_equals({14, 10}, {0, 1}, 1.2).empty());
  EXPECT_EQ(outliers({14, 10}, 1.2).size(), 1U);
  // Three replicas of both: one first stage is slow, and one last stage that is not slower than any first one.
  const std::vector<Outlier> found = outliers_of_equals({14, 20, 14, 10, 10, 14}, {0, 0, 0, 1, 1, 1}, 1.2);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].index, 1U);
  EXPECT_EQ(found[0].compared, 3U);
  EXPECT_EQ(found[1].index, 5U);
  EXPECT_DOUBLE_EQ(found[1].times_the_median, 1.4);
  EXPECT_TRUE(outliers_of_equals({}, {}, 1.2).empty());
}

}  // namespace
}  // namespace penstock::outliers_test
