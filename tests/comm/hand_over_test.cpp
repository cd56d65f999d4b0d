// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 2 TIMEOUT 30
// Rank 0 hands work to a device that takes no more of it, in a call that knows no deadline; rank 1 waits for a message
// while it hands over. The watchdog ends the job, tells the time since the last piece that was taken, and of rank 1 the
// wait inside. tests.cmake holds the output against what the report must say.

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "support/test_world.hpp"

namespace penstock::hand_over_test {
namespace {

void wait_for_ever(World& world) {
  int nothing = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(&nothing, 1, MPI_INT, 1 - world.rank(), 0, world.handle(), &request));
  world.wait(request, "a message that never comes");
}

TEST(HandOver, ADeviceThatTakesNoMoreWorkEndsTheJob) {
  World& world = test_world();
  world.set_deadline(2);
  int action = 0;
  world.set_place(
      {.place = [&] { return Place{.step = 3, .action = action, .actions = 10, .name = ActionName("2F0")}; },
       .row = {}});
  const World::HandOver handing_over(world, "the device to take more work");
  for (; action < 3; ++action) {  // longer than the deadline, all together
    std::this_thread::sleep_for(std::chrono::milliseconds(800));
    world.moved();
  }
  world.moved();
  if (world.rank() == 1) wait_for_ever(world);
  std::this_thread::sleep_for(std::chrono::seconds(20));
  FAIL() << "the work was handed over";
}

}  // namespace
}  // namespace penstock::hand_over_test
