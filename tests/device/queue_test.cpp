#include "device/queue.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace penstock {
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

TEST(Queue, MarksTellHowFarTheDeviceIsAndWhen) {
  Queue queue;
  for (int round = 0; round < 2; ++round) {  // cleared marks begin anew
    queue.clear_marks();
    EXPECT_EQ(queue.marks_passed(), 0U);
    queue.mark();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    queue.mark();
    queue.mark();
    queue.drain("this test's marks");
    EXPECT_EQ(queue.marks_passed(), 3U);
    const std::vector<double> seconds = queue.mark_seconds();
    ASSERT_EQ(seconds.size(), 3U);
    EXPECT_EQ(seconds[0], 0);
    EXPECT_GE(seconds[1], 0.02);
    EXPECT_GE(seconds[2], seconds[1]);
  }
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
}  // namespace penstock
