// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 4 8
#include "comm/world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "support/test_world.hpp"

namespace penstock::world_test {
namespace {

std::optional<Failure> what_all_ranks_hear(const std::function<void()>& action) {
  try {
    action();
  } catch (const CollectiveFailure& failure) {
    return Failure{failure.exit_code(), failure.what()};
  }
  return std::nullopt;
}

// Ranks must have heard the same: each brings what it heard, and all compare.
void expect_all_heard(const std::optional<Failure>& heard, int code, const std::string& message) {
  const std::string mine = heard ? fmt::format("{} {}", heard->exit_code, heard->message) : "nothing";
  for (const std::string& text : test_world().gather(mine)) EXPECT_EQ(text, fmt::format("{} {}", code, message));
}

TEST(World, KnowsItsPlaceInTheJob) {
  const World& world = test_world();
  int rank = -1, size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(world.rank(), rank);
  EXPECT_EQ(world.size(), size);
  if (const char* started = std::getenv("PMI_SIZE")) {
    EXPECT_EQ(world.size(), std::atoi(started));
  }
}

TEST(World, NodesAreNumberedByTheirLowestRank) {
  const World& world = test_world();
  int highest_so_far = -1;
  for (int rank = 0; rank < world.size(); ++rank) {
    EXPECT_LE(world.node_of(rank), highest_so_far + 1);
    highest_so_far = std::max(highest_so_far, world.node_of(rank));
  }
  EXPECT_EQ(world.nodes(), highest_so_far + 1);
  EXPECT_EQ(world.node(), world.node_of(world.rank()));
}

TEST(World, BroadcastGivesEverybodyTheBytesOfTheRoot) {
  World& world = test_world();
  for (int root = 0; root < world.size(); ++root)
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{300'000}}) {
      const std::string expected(length, static_cast<char>('a' + root));
      const std::string given = world.rank() == root ? expected : "something else, of another length";
      EXPECT_EQ(world.broadcast(given, root), expected);
    }
  const std::vector<std::byte> bytes = {std::byte{0}, std::byte{255}, std::byte{7}};
  EXPECT_EQ(world.broadcast(world.rank() == 0 ? bytes : std::vector<std::byte>{}), bytes);
}

TEST(World, GatherGivesEverybodyAllTextsInRankOrder) {
  World& world = test_world();
  // Unequal lengths, empty ones among them, and one beyond an eager message.
  const auto text_of = [](int rank) {
    return rank % 3 == 0
               ? std::string()
               : std::string(static_cast<std::size_t>(rank % 3 == 1 ? rank : 100'000), static_cast<char>('a' + rank));
  };
  const std::vector<std::string> texts = world.gather(text_of(world.rank()));
  ASSERT_EQ(texts.size(), static_cast<std::size_t>(world.size()));
  for (int rank = 0; rank < world.size(); ++rank) EXPECT_EQ(texts[static_cast<std::size_t>(rank)], text_of(rank));
  for (const std::string& text : world.gather("")) EXPECT_TRUE(text.empty());
}

TEST(World, LargestIsTheLargestOfAllRanks) {
  World& world = test_world();
  EXPECT_EQ(world.largest(world.rank()), world.size() - 1);
  EXPECT_EQ(world.largest(-1 - world.rank()), -1);
  constexpr std::int64_t wide = std::int64_t{1} << 60;
  EXPECT_EQ(world.largest(wide + world.size() - world.rank()), wide + world.size());
}

TEST(World, ABarrierHoldsUntilTheLastRankCame) {
  World& world = test_world();
  if (world.nodes() > 1) GTEST_SKIP() << "the steady clocks of two hosts cannot be compared";
  const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  if (world.rank() == world.size() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::int64_t came = now();
  world.barrier();
  const std::int64_t left = now();
  EXPECT_LE(world.largest(came), left);
}

TEST(World, WaitUntilReturnsWhenAThreadIsDone) {
  World& world = test_world();
  std::atomic<bool> done = false;
  std::thread worker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    done = true;
  });
  world.wait_until([&] { return done.load(); }, "a thread of this test");
  EXPECT_TRUE(done);
  worker.join();
}

TEST(World, WaitEndsWhenAllRequestsHave) {
  World& world = test_world();
  const int next = (world.rank() + 1) % world.size(), before = (world.rank() + world.size() - 1) % world.size();
  const int given = 100 + world.rank();
  int got[2] = {-1, -1};
  std::vector<MPI_Request> requests(4, MPI_REQUEST_NULL);
  for (int i = 0; i < 2; ++i) {
    MPI_Irecv(&got[i], 1, MPI_INT, before, i, world.handle(), &requests[static_cast<std::size_t>(i)]);
    MPI_Isend(&given, 1, MPI_INT, next, i, world.handle(), &requests[static_cast<std::size_t>(2 + i)]);
  }
  world.wait(requests, "a ring");
  EXPECT_EQ(got[0], 100 + before);
  EXPECT_EQ(got[1], 100 + before);
  world.wait(std::span<MPI_Request>(), "no request at all");
}

TEST(World, TogetherIsSilentWhereAllGoesWell) {
  int ran = 0;
  EXPECT_NO_THROW(test_world().together([&] { ++ran; }));
  EXPECT_EQ(ran, 1);
}

TEST(World, OneFailingRankFailsAllWithItsMessageAndCode) {
  World& world = test_world();
  for (int bad = 0; bad < world.size(); ++bad) {
    const std::string message = fmt::format("input/x.toml: rank {} says\ntwo lines", bad);
    expect_all_heard(what_all_ranks_hear([&] {
                       world.together([&] {
                         if (world.rank() == bad) throw InputError(message);
                       });
                     }),
                     2, message);
  }
}

TEST(World, OfSeveralFailingRanksTheLowestIsHeard) {
  World& world = test_world();
  const int lowest = std::min(1, world.size() - 1);
  expect_all_heard(what_all_ranks_hear([&] {
                     world.together([&] {
                       if (world.rank() == lowest) throw SystemError("the disk is full");
                       if (world.rank() > lowest) throw InputError(fmt::format("rank {}", world.rank()));
                     });
                   }),
                   1, "the disk is full");
}

TEST(World, AnExceptionOfAnyTypeIsHeard) {
  World& world = test_world();
  expect_all_heard(what_all_ranks_hear([&] {
                     world.together([&] {
                       if (world.rank() == world.size() - 1) throw 42;
                     });
                   }),
                   1, "an exception of an unknown type");
}

TEST(World, AgreePassesOnAnyCodeAndAnEmptyMessage) {
  World& world = test_world();
  EXPECT_NO_THROW(world.agree(std::nullopt));
  const auto mine = world.rank() == world.size() - 1 ? std::optional(Failure{75, ""}) : std::nullopt;
  expect_all_heard(what_all_ranks_hear([&] { world.agree(mine); }), 75, "");
}

TEST(World, WhatWasAgreedOnIsNotAskedAgain) {
  World& world = test_world();
  // An inner `together` has told all ranks: an outer one passes it on without a second round, and nobody hangs.
  expect_all_heard(what_all_ranks_hear([&] {
                     world.together([&] {
                       world.together([&] {
                         if (world.rank() == 0) throw InputError("inner");
                       });
                     });
                   }),
                   2, "inner");
  world.barrier();
}

TEST(World, FailuresHaveTheirExitCodes) {
  EXPECT_EQ(failure_of(InputError("x")).exit_code, 2);
  EXPECT_EQ(failure_of(SystemError("x")).exit_code, 1);
  EXPECT_EQ(failure_of(LogicError("x")).exit_code, 1);
  EXPECT_EQ(failure_of(CollectiveFailure({75, "x"})).exit_code, 75);
  EXPECT_EQ(failure_of(InputError("the message")).message, "the message");
}

TEST(World, MpiErrorsBecomeSystemErrorsWithThePlace) {
  EXPECT_NO_THROW(check_mpi(MPI_SUCCESS));
  try {
    check_mpi(MPI_ERR_COUNT);
    FAIL() << "nothing was thrown";
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("world_test.cpp"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("count"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace penstock::world_test
