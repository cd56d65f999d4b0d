// SPDX-License-Identifier: Apache-2.0
#include "base/median.hpp"

#include <gtest/gtest.h>

namespace penstock::median_test {
namespace {

TEST(Median, OfAnEvenNumberIsTheLowerMiddle) {
  EXPECT_EQ(median_of({}), 0);
  EXPECT_EQ(median_of({3}), 3);
  EXPECT_EQ(median_of({4, 1}), 1);
  EXPECT_EQ(median_of({5, 1, 3}), 3);
  EXPECT_EQ(median_of({4, 3, 2, 1}), 2);
}

}  // namespace
}  // namespace penstock::median_test
