// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 2 TIMEOUT 15 IN_SHELL
// Rank 1 is killed; rank 0, which waits for it, says so and ends the job long before its deadline. tests.cmake holds
// the output against what the report must say.

#include <gtest/gtest.h>

#include <csignal>

#include "support/test_world.hpp"

namespace penstock::lost_rank_test {
namespace {

TEST(LostRank, IsNamedByTheRankThatWaitsForIt) {
  World& world = test_world();
  world.set_deadline(20);
  world.barrier();
  EXPECT_EQ(world.lost_ranks(), "");
  world.barrier();
  if (world.rank() == 1) raise(SIGKILL);
  int nothing = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(&nothing, 1, MPI_INT, 1, 0, world.handle(), &request));
  world.wait(request, "a message of the dead");
  FAIL() << "the wait ended";
}

}  // namespace
}  // namespace penstock::lost_rank_test
