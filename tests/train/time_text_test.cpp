// SPDX-License-Identifier: Apache-2.0
#include "train/time_text.hpp"

#include <gtest/gtest.h>

namespace penstock::time_text_test {
namespace {

TEST(ShortTime, TakesTheUnitThatFits) {
  EXPECT_EQ(short_time(0.4), "0 s");
  EXPECT_EQ(short_time(59.4), "59 s");
  EXPECT_EQ(short_time(187), "3:07 min");
  EXPECT_EQ(short_time(26 * 3600 + 10 * 60), "26:10 h");
}

}  // namespace
}  // namespace penstock::time_text_test
