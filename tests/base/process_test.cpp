// SPDX-License-Identifier: Apache-2.0
#include "base/process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace penstock::process_test {
namespace {

TEST(Process, KnowsItselfWhateverItsName) {
  const auto stat = stat_of_process(getpid());
  ASSERT_TRUE(stat);
  EXPECT_FALSE(stat->ended());
  EXPECT_GT(stat->start_ticks, 0);
  for (const char* name : {"a b) Z 1 2", "((", ") "}) {
    prctl(PR_SET_NAME, name);
    const auto renamed = stat_of_process(getpid());
    ASSERT_TRUE(renamed) << name;
    EXPECT_FALSE(renamed->ended()) << name;
    EXPECT_EQ(renamed->start_ticks, stat->start_ticks) << name;
  }
}

TEST(Process, HasEndedBeforeItsParentAsksAndIsNotThereAfterwards) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto stat = stat_of_process(child);
  ASSERT_TRUE(stat);
  EXPECT_TRUE(stat->ended());
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(stat_of_process(child));
}

}  // namespace
}  // namespace penstock::process_test
