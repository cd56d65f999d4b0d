// SPDX-License-Identifier: Apache-2.0
#include "mesh/mesh_place.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace penstock::mesh_place_test {
namespace {

TEST(MeshPlace, KnowsItsCoordinatesByName) {
  const MeshPlace place(Mesh({{"pipeline", 2}, {"data", 3}, {"tensor", 4}}), 17);
  EXPECT_EQ(place.rank(), 17);
  EXPECT_EQ(place.at(Axis::pipeline), 1);
  EXPECT_EQ(place.at(Axis::data), 1);
  EXPECT_EQ(place.at(Axis::tensor), 1);
  EXPECT_EQ(place.at("expert"), 0);
  EXPECT_EQ(place.ranks_along(Axis::data), 3);
  EXPECT_EQ(place.ranks_along("expert"), 1);
}

TEST(MeshPlace, IsWhereItsGroupsHaveIt) {
  const Mesh mesh = Mesh({{"pipeline", 2}, {"data", 3}, {"tensor", 4}}).factored("tensor", "copies", 2);
  for (const AxisSet& axes : {AxisSet{}, AxisSet{"data"}, AxisSet{"tensor", "pipeline"}, AxisSet{"data", "copies"},
                              AxisSet{"pipeline", "data", "tensor"}, AxisSet{"data", "context"}})
    for (int rank = 0; rank < mesh.size(); ++rank) {
      const MeshPlace place(mesh, rank);
      const std::vector<int> group = mesh.group(rank, axes);
      ASSERT_EQ(place.group_size(axes), static_cast<int>(group.size()));
      ASSERT_EQ(group[static_cast<std::size_t>(place.index_in_group(axes))], rank);
    }
}

TEST(MeshPlace, AloneIsTheOneRank) {
  const MeshPlace place;
  EXPECT_EQ(place.at(Axis::data), 0);
  EXPECT_EQ(place.ranks_along(Axis::data), 1);
  EXPECT_EQ(place.group_size({Axis::data, Axis::tensor}), 1);
  EXPECT_EQ(place, MeshPlace(Mesh(), 0));
  EXPECT_THROW(MeshPlace(Mesh(), 1), LogicError);
}

}  // namespace
}  // namespace penstock::mesh_place_test
