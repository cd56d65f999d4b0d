// SPDX-License-Identifier: Apache-2.0
#include "base/process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
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
  EXPECT_FALSE(may_run(child));
}

TEST(Process, MayRunWhereItIsNotKnown) {
  EXPECT_TRUE(may_run(getpid()));
  for (const std::int64_t none : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 22, std::int64_t{1} << 40})
    EXPECT_FALSE(may_run(none)) << none;
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit no_file{.rlim_cur = 0, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &no_file);
  const bool seen = stat_of_process(getpid()).has_value(), runs = may_run(getpid());
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_FALSE(seen);
  EXPECT_TRUE(runs) << "/proc cannot be read, and that is no proof";
}

TEST(Process, KnowsItsBootAndItsNamespace) {
  EXPECT_EQ(boot_id().size(), 36U) << boot_id();
  EXPECT_TRUE(pid_namespace().starts_with("pid:[")) << pid_namespace();
}

}  // namespace
}  // namespace penstock::process_test
