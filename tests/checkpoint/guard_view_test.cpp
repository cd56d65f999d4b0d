#include "checkpoint/guard_view.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/temporary_folder.hpp"

namespace penstock {
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

}  // namespace
}  // namespace penstock
