// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include <gtest/gtest.h>

#include <regex>

namespace penstock::log_test {
namespace {

// What a rank of so many writes, a line for each level, without the times.
std::string logged_by(int rank, int ranks) {
  testing::internal::CaptureStderr();
  start_log(rank, ranks);
  log_info("goes on with {}", 1);
  log_warning("is slow by {}", 2);
  log_error("has lost {}", 3);
  const std::string text = testing::internal::GetCapturedStderr();
  return std::regex_replace(text, std::regex(R"(\[\d\d:\d\d:\d\d\])"), "[time]");
}

TEST(Log, WarningsAndErrorsSaySo) {
  const std::string of_one = "[time] goes on with 1\n[time] warning: is slow by 2\n[time] error: has lost 3\n";
  EXPECT_EQ(logged_by(0, 1), of_one);
  EXPECT_EQ(logged_by(0, 4), of_one);
  EXPECT_EQ(logged_by(3, 4), "[time] warning: rank 3: is slow by 2\n[time] error: rank 3: has lost 3\n");
}

}  // namespace
}  // namespace penstock::log_test
