// SPDX-License-Identifier: Apache-2.0
#include "storage/guard_view.hpp"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

#include "storage/temporary_folder.hpp"

namespace {

std::time_t clock_ahead_seconds = 0;  // of this process; files are stamped by the system

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const auto result = static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  if (clock == CLOCK_REALTIME) time->tv_sec += clock_ahead_seconds;
  return result;
}

namespace penstock::guard_view_test {
namespace {

TEST(GuardView, ShowsNothingWhereNobodyHoldsTheFolder) {
  const TemporaryFolder folder;
  EXPECT_FALSE(look_at_guard(folder.path()));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "a look leaves nothing behind";
}

TEST(GuardView, ShowsTheHolderThatLives) {
  const TemporaryFolder folder;
  const RunGuard guard(folder.path());
  const auto view = look_at_guard(folder.path());
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->alive);
  EXPECT_EQ(view->holder, guard.holder());
}

TEST(GuardView, AProcessOfThisMachineThatHasEndedDoesNotLive) {
  const TemporaryFolder folder;
  GuardHolder dead = GuardHolder::this_process();
  dead.start_ticks += 1;  // another process had our number
  std::ofstream(folder.path() / "guard") << dead.json();
  EXPECT_FALSE(look_at_guard(folder.path())->alive);
}

TEST(GuardView, OnAnotherMachineTheHeartbeatTells) {
  const TemporaryFolder folder;
  GuardHolder far = GuardHolder::this_process();
  far.host = "elsewhere";
  far.boot = "another boot";
  std::ofstream(folder.path() / "guard") << far.json();
  EXPECT_TRUE(look_at_guard(folder.path())->alive);
  EXPECT_FALSE(look_at_guard(folder.path(), {.stale_seconds = -1})->alive);
}

TEST(GuardView, InAContainerTheHeartbeatTells) {
  const TemporaryFolder folder;
  GuardHolder inside = GuardHolder::this_process();
  inside.space = "pid:[1]";
  inside.process = 1 << 22;  // nobody has this number here
  std::ofstream(folder.path() / "guard") << inside.json();
  EXPECT_TRUE(look_at_guard(folder.path())->alive);
  EXPECT_FALSE(look_at_guard(folder.path(), {.stale_seconds = -1})->alive);
}

TEST(GuardView, AGuardDatedInTheFutureIsWatched) {
  const TemporaryFolder folder;
  GuardHolder far = GuardHolder::this_process();
  far.boot = "another boot";
  const std::filesystem::path guard = folder.path() / "guard";
  std::ofstream(guard) << far.json();
  std::filesystem::last_write_time(guard, std::filesystem::last_write_time(guard) + std::chrono::hours(1));
  EXPECT_FALSE(look_at_guard(folder.path(), {.heartbeat_seconds = 0.02, .patience_seconds = 0.3})->alive);
  std::jthread heart([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    std::filesystem::last_write_time(guard, std::filesystem::last_write_time(guard) + std::chrono::seconds(10));
  });
  EXPECT_TRUE(look_at_guard(folder.path(), {.heartbeat_seconds = 0.02, .patience_seconds = 30})->alive);
}

TEST(GuardView, TheFolderTellsTheTimeWhateverThisMachinesClockSays) {
  const TemporaryFolder folder;
  GuardHolder far = GuardHolder::this_process();
  far.host = "elsewhere";
  far.boot = "another boot";
  std::ofstream(folder.path() / "guard") << far.json();
  constexpr std::time_t hour = 3600;
  for (const std::time_t ahead : {-hour, hour}) {
    clock_ahead_seconds = ahead;
    const auto view = look_at_guard(folder.path());
    const auto stale = look_at_guard(folder.path(), {.stale_seconds = -1});
    clock_ahead_seconds = 0;
    EXPECT_TRUE(view->alive) << "clock ahead by " << ahead << " s";
    EXPECT_FALSE(stale->alive) << "clock ahead by " << ahead << " s";
    EXPECT_NEAR(view->silent_seconds, 0, 60) << "clock ahead by " << ahead << " s; a minute for a slow machine";
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "a look leaves nothing behind";
}

}  // namespace
}  // namespace penstock::guard_view_test
