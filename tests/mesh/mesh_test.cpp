// SPDX-License-Identifier: Apache-2.0
#include "mesh/mesh.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace penstock::mesh_test {
namespace {

Mesh three_axes() { return Mesh({{"pipeline", 2}, {"data", 3}, {"tensor", 4}}); }

TEST(Mesh, InnermostAxisHoldsNeighbouringRanks) {
  const Mesh mesh = three_axes();
  EXPECT_EQ(mesh.size(), 24);
  EXPECT_EQ(mesh.coordinate(17, "tensor"), 1);  // 17 = 1*12 + 1*4 + 1
  EXPECT_EQ(mesh.coordinate(17, "data"), 1);
  EXPECT_EQ(mesh.coordinate(17, "pipeline"), 1);
  EXPECT_EQ(mesh.neighbour(17, "tensor", 2), 18);
  EXPECT_EQ(mesh.neighbour(17, "data", 2), 21);
  EXPECT_EQ(mesh.neighbour(17, "pipeline", 0), 5);
}

TEST(Mesh, CoordinatesNameEachRankOnce) {
  const Mesh mesh = three_axes();
  std::set<std::vector<int>> seen;
  for (int rank = 0; rank < mesh.size(); ++rank) {
    std::vector<int> coordinates;
    int built = 0;
    for (const Axis& axis : mesh.axes()) {
      coordinates.push_back(mesh.coordinate(rank, axis.name));
      built = mesh.neighbour(built, axis.name, coordinates.back());
    }
    EXPECT_EQ(built, rank);
    EXPECT_TRUE(seen.insert(coordinates).second);
  }
}

TEST(Mesh, GroupsAreOrderedByCoordinates) {
  const Mesh mesh = three_axes();
  EXPECT_EQ(mesh.group(17, {"tensor"}), (std::vector<int>{16, 17, 18, 19}));
  EXPECT_EQ(mesh.group(17, {"data"}), (std::vector<int>{13, 17, 21}));
  EXPECT_EQ(mesh.group(17, {"pipeline"}), (std::vector<int>{5, 17}));
  EXPECT_EQ(mesh.group(17, {}), std::vector<int>{17});
}

TEST(Mesh, AGroupIsNamedByTheSetOfItsAxes) {
  const Mesh mesh = three_axes();
  EXPECT_EQ(mesh.group(17, {"tensor", "pipeline"}), mesh.group(17, {"pipeline", "tensor"}));
  EXPECT_EQ(mesh.group(17, {"pipeline", "tensor"}), (std::vector<int>{4, 5, 6, 7, 16, 17, 18, 19}));
}

TEST(Mesh, EveryMemberSeesTheSameGroup) {
  const Mesh mesh = three_axes();
  const std::vector<AxisSet> sets{{"data"},           {"tensor"},           {"pipeline"},
                                  {"data", "tensor"}, {"pipeline", "data"}, {"pipeline", "data", "tensor"}};
  for (const AxisSet& axes : sets) {
    std::multiset<int> covered;
    for (int rank = 0; rank < mesh.size(); ++rank) {
      const std::vector<int> group = mesh.group(rank, axes);
      for (const int member : group) EXPECT_EQ(mesh.group(member, axes), group);
      EXPECT_EQ(std::count(group.begin(), group.end(), rank), 1);
      if (group.front() == rank) covered.insert(group.begin(), group.end());
    }
    EXPECT_EQ(covered.size(), 24U);  // the groups of one set cover the mesh, each rank once
    EXPECT_EQ(std::set<int>(covered.begin(), covered.end()).size(), 24U);
  }
}

TEST(Mesh, AnAxisThatIsNotThereHasSizeOne) {
  const Mesh mesh({{"data", 2}});
  EXPECT_EQ(mesh.size_of("data"), 2);
  EXPECT_EQ(mesh.size_of("expert"), 1);
  EXPECT_EQ(mesh.coordinate(1, "expert"), 0);
  EXPECT_EQ(mesh.neighbour(1, "expert", 0), 1);
  EXPECT_THROW(mesh.neighbour(1, "expert", 1), LogicError);
  EXPECT_EQ(mesh.group(1, {"expert"}), std::vector<int>{1});
  EXPECT_EQ(mesh.group(1, {"expert", "data"}), (std::vector<int>{0, 1}));
}

TEST(Mesh, WithoutAxesIsOneRank) {
  const Mesh mesh(std::vector<Axis>{});
  EXPECT_EQ(mesh.size(), 1);
  EXPECT_EQ(mesh, Mesh());
  EXPECT_EQ(mesh.group(0, {"data"}), std::vector<int>{0});
}

TEST(Mesh, RefusesEmptyAndDoubledAxes) {
  EXPECT_THROW(Mesh({{"data", 0}}), InputError);
  EXPECT_THROW(Mesh({{"data", -2}}), InputError);
  EXPECT_THROW(Mesh({{"data", 2}, {"tensor", 1}, {"data", 2}}), InputError);
  try {
    Mesh({{"pipeline", 0}});
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("mesh.pipeline = 0"), std::string::npos) << error.what();
  }
}

TEST(Mesh, AFactorIsTheInnermostPartOfItsAxis) {
  const Mesh mesh = three_axes().factored("tensor", "copies", 2);
  EXPECT_EQ(mesh.size_of("copies"), 2);
  EXPECT_EQ(mesh.size_of("tensor"), 4) << "the axis is what it was";
  EXPECT_EQ(mesh.axes(), three_axes().axes());
  for (int rank = 0; rank < mesh.size(); ++rank) EXPECT_EQ(mesh.coordinate(rank, "copies"), rank % 2);
  EXPECT_EQ(mesh.group(17, {"copies"}), (std::vector<int>{16, 17}));
  EXPECT_EQ(mesh.group(18, {"copies"}), (std::vector<int>{18, 19}));
  EXPECT_EQ(mesh.group(17, {"copies", "tensor"}), mesh.group(17, {"tensor"}));
  EXPECT_EQ(mesh.group(17, {"data", "copies"}), (std::vector<int>{12, 13, 16, 17, 20, 21}));
  EXPECT_EQ(mesh.spanned({"copies", "data", "context"}), (std::vector<std::string>{"data", "copies"}));
  EXPECT_EQ(three_axes().factored("data", "runs", 3).group(17, {"runs"}), (std::vector<int>{13, 17, 21}));
  EXPECT_THROW(three_axes().factored("tensor", "copies", 3), LogicError);
  EXPECT_THROW(three_axes().factored("tensor", "data", 2), LogicError);
  EXPECT_EQ(Mesh().factored("tensor", "copies", 1), Mesh());
}

TEST(Mesh, IsAComparableValueWithAText) {
  EXPECT_EQ(three_axes(), three_axes());
  EXPECT_NE(three_axes(), Mesh({{"pipeline", 2}, {"tensor", 4}, {"data", 3}}));
  EXPECT_EQ(three_axes().text(), "pipeline 2 x data 3 x tensor 4");
}

}  // namespace
}  // namespace penstock::mesh_test
