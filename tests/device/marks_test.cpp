// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "device/marks.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace penstock::marks_test {
namespace {

TEST(Marks, TellHowFarTheDeviceIsAndWhen) {
  Queue queue;
  Marks marks(queue);
  for (int round = 0; round < 2; ++round) {  // cleared marks begin anew
    marks.clear();
    EXPECT_EQ(marks.passed(), 0U);
    marks.set();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    marks.set();
    marks.set();
    marks.wait("this test's marks");
    EXPECT_EQ(marks.passed(), 3U);
    const std::vector<double> seconds = marks.seconds();
    ASSERT_EQ(seconds.size(), 3U);
    EXPECT_EQ(seconds[0], 0);
    EXPECT_GE(seconds[1], 0.02);
    EXPECT_GE(seconds[2], seconds[1]);
  }
}

TEST(Marks, OfTwoSetsEachKnowsItsOwn) {
  Queue queue;
  Marks first(queue), second(queue);
  first.set();
  second.set();
  second.set();
  first.wait("the first set");
  EXPECT_EQ(first.passed(), 1U);
  second.wait("the second set");
  EXPECT_EQ(second.passed(), 2U);
  second.clear();
  EXPECT_EQ(first.seconds().size(), 1U);
  EXPECT_EQ(second.passed(), 0U);
}

}  // namespace
}  // namespace penstock::marks_test
