// SPDX-License-Identifier: Apache-2.0
#include "base/child_process.hpp"

#include <gtest/gtest.h>

#include <csignal>

namespace penstock::child_process_test {
namespace {

TEST(ChildProcess, SaysHowAProgramEnded) {
  EXPECT_EQ(run_program({"true"}), "");
  EXPECT_EQ(run_program({"sh", "-c", "exit 3"}), "exit code 3");
  EXPECT_EQ(run_program({"sh", "-c", "kill -9 $$"}), "killed by signal 9");
  EXPECT_EQ(run_program({"/no/such/program"}), "No such file or directory");
}

TEST(ChildProcess, GivesTheOutputOnly) {
  EXPECT_EQ(output_of_program({"sh", "-c", "cat; echo a b; echo c >&2; exit 1"}), "a b\n");
  EXPECT_EQ(output_of_program({"/no/such/program"}), "");
}

TEST(ChildProcess, LeavesNoSignalBlockedInIt) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const std::string text = output_of_program({"grep", "SigBlk", "/proc/self/status"});
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(text, "SigBlk:\t0000000000000000\n");
}

}  // namespace
}  // namespace penstock::child_process_test
