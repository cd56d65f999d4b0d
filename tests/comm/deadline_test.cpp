// Rank 1 waits for what rank 0 never sends; rank 0 waits for rank 1 with a longer deadline. tests.cmake holds the
// output against what the report must say.

#include <gtest/gtest.h>

#include "support/test_world.hpp"

namespace penstock {
namespace {

TEST(Deadline, TheRankThatWaitsTooLongEndsTheJob) {
  World& world = test_world();
  world.set_deadline(world.rank() == 1 ? 1 : 20);
  world.set_place([] { return std::string("step 3, 2F0"); });
  int nothing = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(&nothing, 1, MPI_INT, 1 - world.rank(), 0, world.handle(), &request));
  world.wait(request, "a message that never comes");
  FAIL() << "the wait ended";
}

}  // namespace
}  // namespace penstock
