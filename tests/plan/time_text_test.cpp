// SPDX-License-Identifier: Apache-2.0
#include "plan/time_text.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace penstock::time_text_test {
namespace {

TEST(ShortTime, TakesTheUnitThatFits) {
  EXPECT_EQ(short_time(0.4), "0 s");
  EXPECT_EQ(short_time(59.4), "59 s");
  EXPECT_EQ(short_time(187), "3:07 min");
  EXPECT_EQ(short_time(26 * 3600 + 10 * 60), "26:10 h");
}

TEST(ShortTime, SaysWhereThereIsNone) {
  for (const double seconds : {std::nan(""), HUGE_VAL, -HUGE_VAL, 1e300})
    EXPECT_EQ(short_time(seconds), "an unknown time");
}

}  // namespace
}  // namespace penstock::time_text_test
