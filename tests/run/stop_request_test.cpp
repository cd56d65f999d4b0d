// SPDX-License-Identifier: Apache-2.0
#include "run/stop_request.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <initializer_list>
#include <set>
#include <string>
#include <thread>

namespace penstock::stop_request_test {
namespace {

constexpr std::initializer_list<int> stop_signals{SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGHUP, SIGXCPU};

TEST(StopRequest, NothingWasAskedAtFirst) { EXPECT_EQ(StopRequest().signal(), 0); }

TEST(StopRequest, EachSignalIsARequestAndStays) {
  for (const int signal : stop_signals) {
    StopRequest request;
    std::raise(signal);
    EXPECT_EQ(request.signal(), signal);
    EXPECT_EQ(request.signal(), signal) << "it stays";
    EXPECT_EQ(name_of_signal(signal), std::string("SIG") + sigabbrev_np(signal));
  }
}

TEST(StopRequest, ASignalBeforeTheFirstQuestionIsKept) {
  StopRequest request;
  ASSERT_EQ(kill(getpid(), SIGUSR1), 0);
  EXPECT_EQ(request.signal(), SIGUSR1);
}

TEST(StopRequest, NoThreadThatIsMadeLaterIsInterruptedFromOutside) {
  StopRequest request;
  const std::set<int> open{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGKILL, SIGSTOP};
  std::thread worker([&] {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
      if (signal > SIGSYS && signal < SIGRTMIN) continue;  // the C library's own
      EXPECT_EQ(sigismember(&blocked, signal), open.contains(signal) ? 0 : 1) << signal;
    }
  });
  worker.join();
}

TEST(StopRequest, AHangUpThatWasIgnoredBeforeStaysIgnored) {
  std::signal(SIGHUP, SIG_IGN);
  StopRequest request;
  std::raise(SIGHUP);
  EXPECT_EQ(request.signal(), 0);
  std::raise(SIGUSR2);
  EXPECT_EQ(request.signal(), SIGUSR2);
  std::signal(SIGHUP, SIG_IGN);  // drops the one that waits
  std::signal(SIGHUP, SIG_DFL);
}

// Ctrl-Z and Ctrl-\, in a process of its own, and in a process group of its own: one whose parent is in its own group
// is not stopped.
TEST(StopRequest, StopsAndEndsAtOnceFromTheKeyboard) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    setpgid(0, 0);
    const StopRequest request;
    std::raise(SIGSTOP);  // ready
    for (;;) pause();
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_EQ(kill(child, SIGCONT), 0);
  ASSERT_EQ(kill(child, SIGTSTP), 0);
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  EXPECT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP) << status;
  ASSERT_EQ(kill(child, SIGCONT), 0);
  ASSERT_EQ(kill(child, SIGQUIT), 0);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT) << status;
}

TEST(StopRequest, ASecondSignalAfterTheEndDoesNotKill) {
  { StopRequest request; }
  std::raise(SIGTERM);  // would end this test
  EXPECT_EQ(StopRequest().signal(), SIGTERM);
}

}  // namespace
}  // namespace penstock::stop_request_test
