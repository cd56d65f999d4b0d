// SPDX-License-Identifier: Apache-2.0
#include "device/queue.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <cstring>

namespace penstock::queue_test {
namespace {

TEST(Queue, WorkspaceGrowsToTheLargestAskAndStays) {
  Queue queue;
  EXPECT_EQ(queue.workspace_bytes(), 0U);
  std::byte* const small = queue.workspace(1000);
  std::memset(small, 0xab, 1000);
  EXPECT_EQ(queue.workspace_bytes(), 1000U);
  std::byte* const large = queue.workspace(100000);
  std::memset(large, 0xab, 100000);
  EXPECT_EQ(queue.workspace_bytes(), 100000U);
  EXPECT_EQ(queue.workspace(10), large) << "a smaller ask gets the same memory";
  EXPECT_EQ(queue.workspace_bytes(), 100000U);
}

TEST(Queue, AskForNothingNeedsNoMemory) {
  Queue queue;
  queue.workspace(0);
  EXPECT_EQ(queue.workspace_bytes(), 0U);
}

TEST(Queue, RunsOnAsManyThreadsAsItWasGiven) {
  const int before = omp_get_max_threads();
  const Queue queue({.threads = 2});
  EXPECT_EQ(queue.threads(), 2);
  int started = 0;
#pragma omp parallel
#pragma omp single
  started = omp_get_num_threads();
  EXPECT_EQ(started, 2);
  omp_set_num_threads(before);
}

TEST(Queue, WithoutANumberTakesWhatOpenMPTakes) { EXPECT_EQ(Queue().threads(), omp_get_max_threads()); }

TEST(Queue, MovesWithItsWorkspace) {
  Queue first;
  std::byte* const memory = first.workspace(64);
  Queue second(std::move(first));
  EXPECT_EQ(second.workspace(64), memory);
}

}  // namespace
}  // namespace penstock::queue_test
