// SPDX-License-Identifier: Apache-2.0
#include "base/warning_limit.hpp"

#include <gtest/gtest.h>

namespace penstock::warning_limit_test {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using Texts = std::vector<std::string>;

class WarningLimitTest : public testing::Test {
 protected:
  std::string pass(const std::string& subject, const std::string& figures) {
    return limit.pass({subject, subject + figures}).value_or("");
  }

  Clock::time_point now{};
  WarningLimit limit{[this] { return now; }};
};

TEST_F(WarningLimitTest, TheSameWarningPassesOnceInTenMinutes) {
  EXPECT_EQ(pass("slow rank: rank 3", " takes 1.4"), "slow rank: rank 3 takes 1.4");
  for (int again = 0; again < 12; ++again) {
    now += seconds(45);
    EXPECT_EQ(pass("slow rank: rank 3", " takes 1.5"), "") << again;
  }
  now += seconds(60);
  EXPECT_EQ(pass("slow rank: rank 3", " takes 1.6"),
            "slow rank: rank 3 takes 1.6 (12 more of these in the last 10 min)");
  now += seconds(1);
  EXPECT_EQ(pass("slow rank: rank 3", " takes 1.7"), "") << "the ten minutes begin again";
  now += minutes(47);
  EXPECT_EQ(pass("slow rank: rank 3", " takes 1.8"),
            "slow rank: rank 3 takes 1.8 (1 more of these in the last 48 min)");
}

TEST_F(WarningLimitTest, ARareWarningAlwaysPassesAndCountsNothing) {
  for (int time = 0; time < 3; ++time) {
    EXPECT_EQ(pass("slow link", "!"), "slow link!");
    now += minutes(10);
  }
}

TEST_F(WarningLimitTest, KindsAreCountedApart) {
  EXPECT_EQ(pass("rank 1", ""), "rank 1");
  EXPECT_EQ(pass("rank 2", ""), "rank 2");
  EXPECT_EQ(pass("rank 1", ""), "");
  now += minutes(11);
  EXPECT_EQ(pass("rank 2", ""), "rank 2");
  EXPECT_EQ(pass("rank 1", ""), "rank 1 (1 more of these in the last 11 min)");
}

TEST_F(WarningLimitTest, WhatWasHeldBackIsToldAtTheEnd) {
  pass("rank 1", " a");
  pass("rank 2", " b");
  now += minutes(3);
  pass("rank 2", " c");
  pass("rank 2", " d");
  EXPECT_EQ(limit.held_back(), Texts{"rank 2 d (the last of 2 of these in the last 3 min)"});
  EXPECT_EQ(limit.held_back(), Texts{});
}

}  // namespace
}  // namespace penstock::warning_limit_test
