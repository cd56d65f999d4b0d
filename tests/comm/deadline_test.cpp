// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 2 TIMEOUT 30
// Rank 1 waits for what rank 0 never sends, while rank 0 is busy with something that does not end: its watchdog reports
// for rank 1 all the same. tests.cmake holds the output against what the report must say.

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "support/test_world.hpp"

namespace penstock::deadline_test {
namespace {

TEST(Deadline, TheRankThatWaitsTooLongEndsTheJob) {
  World& world = test_world();
  world.set_deadline(2);
  world.set_place(
      {.place = [] { return Place{.step = 3, .action = 4, .actions = 10, .name = ActionName("2F0")}; }, .row = {}});
  world.barrier();
  if (world.rank() == 0) std::this_thread::sleep_for(std::chrono::seconds(20));
  int nothing = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(&nothing, 1, MPI_INT, 1 - world.rank(), 0, world.handle(), &request));
  world.wait(request, "a message that never comes");
  FAIL() << "the wait ended";
}

}  // namespace
}  // namespace penstock::deadline_test
