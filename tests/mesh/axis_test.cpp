// SPDX-License-Identifier: Apache-2.0
#include "mesh/axis.hpp"

#include <gtest/gtest.h>

namespace penstock::axis_test {
namespace {

TEST(AxisSet, IsASet) {
  const AxisSet set{Axis::tensor, Axis::data, Axis::tensor};
  EXPECT_EQ(set, (AxisSet{Axis::data, Axis::tensor}));
  EXPECT_NE(set, AxisSet{Axis::data});
  EXPECT_TRUE(set.contains("tensor"));
  EXPECT_FALSE(set.contains("pipeline"));
  EXPECT_FALSE(set.contains("tens"));
  EXPECT_EQ(std::vector<std::string>(set.begin(), set.end()), (std::vector<std::string>{"data", "tensor"}));
  EXPECT_TRUE(AxisSet{}.empty());
  EXPECT_EQ(AxisSet::of({{"tensor", 2}, {"data", 1}}), set);
}

}  // namespace
}  // namespace penstock::axis_test
