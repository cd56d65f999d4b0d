// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 4 8
#include "comm/communicators.hpp"

#include <gtest/gtest.h>

#include "support/test_world.hpp"

namespace penstock::communicators_test {
namespace {

Mesh cube() {
  const int size = test_world().size();
  return Mesh({{"pipeline", size >= 4 ? 2 : 1}, {"data", size >= 8 ? 2 : 1}, {"tensor", size >= 2 ? 2 : 1}});
}

TEST(Communicators, AGroupIsAskedForByItsAxes) {
  World& world = test_world();
  Queue queue;
  const Mesh mesh = cube().factored(Axis::tensor, Axis::copies, cube().size_of(Axis::tensor));
  Communicators groups(world, queue, mesh, {{"data", "tensor"}, {Axis::copies}, {"context"}});
  EXPECT_EQ(groups.all().size(), world.size());
  for (const AxisSet& axes : {AxisSet{"pipeline"}, AxisSet{"data"}, AxisSet{"tensor"}, AxisSet{"tensor", "data"},
                              AxisSet{Axis::copies}, AxisSet{"context"}}) {
    const std::vector<int> ranks = mesh.group(world.rank(), axes);
    EXPECT_EQ(groups.group(axes).size(), static_cast<int>(ranks.size()));
    EXPECT_EQ(ranks[static_cast<std::size_t>(groups.group(axes).coordinate())], world.rank());
  }
  EXPECT_EQ(&groups.group({"data", "tensor"}), &groups.group({"tensor", "data"}));
  EXPECT_EQ(&groups.group({"data", "context"}), &groups.group({"data"})) << "the mesh has no such axis";
  EXPECT_NE(&groups.group({"tensor"}), &groups.group({Axis::copies})) << "the same ranks, and messages of their own";
  EXPECT_THROW(groups.group({"pipeline", "data"}), LogicError) << "nobody asked for it in time";
}

TEST(Communicators, CountWhatAllOfThemSend) {
  World& world = test_world();
  Queue queue;
  Communicators groups(world, queue, cube());
  std::vector<float> values(8);
  const TensorView view(values.data(), DType::float32, {8});
  Communicator& tensor = groups.group({Axis::tensor});
  tensor.wait(tensor.all_reduce(view));
  groups.all().wait(groups.all().all_reduce(view));
  EXPECT_EQ(groups.bytes_sent(), tensor.bytes_sent() + groups.all().bytes_sent());
  EXPECT_EQ(groups.bytes_sent() > 0, world.size() > 1);
}

}  // namespace
}  // namespace penstock::communicators_test
