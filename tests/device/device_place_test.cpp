// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "base/error.hpp"
#include "device/device.hpp"

namespace penstock::device_place_test {
namespace {

using Visible = std::vector<std::vector<std::string>>;

/// The names of the devices that the ranks of a node take.
std::vector<std::string> taken(const Visible& visible, bool share = false, int nodes = 1) {
  std::vector<std::string> names;
  for (std::size_t rank = 0; rank < visible.size(); ++rank) {
    const DevicePlace place =
        place_on_device({.rank_on_node = static_cast<int>(rank), .visible = visible, .nodes = nodes, .share = share});
    names.push_back(visible[rank].at(static_cast<std::size_t>(place.index)) + (place.shared ? " shared" : ""));
  }
  return names;
}

std::string refusal(const Visible& visible, bool share = false, int nodes = 1) {
  try {
    taken(visible, share, nodes);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(DevicePlace, RanksThatSeeTheSameDevicesTakeOneAfterTheOther) {
  const std::vector<std::string> all = {"a", "b", "c"};
  EXPECT_EQ(taken({all, all, all}), all);
  EXPECT_EQ(taken({all, all}), (std::vector<std::string>{"a", "b"}));
}

TEST(DevicePlace, RanksThatSeeOneEachTakeThat) {
  EXPECT_EQ(taken({{"c"}, {"a"}, {"b"}}), (std::vector<std::string>{"c", "a", "b"}));
}

TEST(DevicePlace, RanksOfTwoSocketsTakeTheirSockets) {
  EXPECT_EQ(taken({{"a", "b"}, {"a", "b"}, {"c", "d"}, {"c", "d"}}), (std::vector<std::string>{"a", "b", "c", "d"}));
}

TEST(DevicePlace, RefusesMoreRanksThanDevices) {
  const std::string message = refusal({{"a"}, {"a"}});
  EXPECT_NE(message.find("2 ranks on this node, but 1 GPU is to be seen"), std::string::npos) << message;
  EXPECT_NE(message.find("device.share"), std::string::npos) << message;
}

TEST(DevicePlace, SharesWhereAsked) {
  EXPECT_EQ(taken({{"a"}, {"a"}}, true), (std::vector<std::string>{"a shared", "a shared"}));
  EXPECT_EQ(taken({{"a", "b"}, {"a", "b"}, {"a", "b"}, {"a", "b"}}, true),
            (std::vector<std::string>{"a shared", "b shared", "a shared", "b shared"}));
  EXPECT_EQ(taken({{"a"}, {"b"}}, true), (std::vector<std::string>{"a", "b"}));  // there is nothing to share
}

TEST(DevicePlace, SharesOnOneNodeOnly) {
  EXPECT_NE(refusal({{"a"}, {"a"}}, true, 2).find("this job has 2 nodes"), std::string::npos);
  EXPECT_EQ(taken({{"a"}, {"b"}}, true, 2), (std::vector<std::string>{"a", "b"}));
}

}  // namespace
}  // namespace penstock::device_place_test
