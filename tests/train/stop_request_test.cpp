// SPDX-License-Identifier: Apache-2.0
#include "train/stop_request.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <thread>

namespace penstock::stop_request_test {
namespace {

TEST(StopRequest, NothingWasAskedAtFirst) { EXPECT_EQ(StopRequest().signal(), 0); }

TEST(StopRequest, EachSignalIsARequestAndStays) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    StopRequest request;
    std::raise(signal);
    EXPECT_EQ(request.signal(), signal);
    EXPECT_EQ(request.signal(), signal) << "it stays";
  }
}

TEST(StopRequest, ASignalBeforeTheFirstQuestionIsKept) {
  StopRequest request;
  ASSERT_EQ(kill(getpid(), SIGUSR1), 0);
  EXPECT_EQ(request.signal(), SIGUSR1);
}

TEST(StopRequest, NoThreadThatIsMadeLaterIsInterrupted) {
  StopRequest request;
  std::thread worker([] {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) EXPECT_EQ(sigismember(&blocked, signal), 1) << signal;
  });
  worker.join();
}

TEST(StopRequest, ASecondSignalAfterTheEndDoesNotKill) {
  { StopRequest request; }
  std::raise(SIGTERM);  // would end this test
  EXPECT_EQ(StopRequest().signal(), SIGTERM);
}

}  // namespace
}  // namespace penstock::stop_request_test
