#include "train/stop_request.hpp"

#include <gtest/gtest.h>

#include <csignal>

namespace penstock {
namespace {

volatile std::sig_atomic_t seen_by_former = 0;
void former(int signal) { seen_by_former = signal; }

TEST(StopRequest, NothingWasAskedAtFirst) { EXPECT_EQ(StopRequest().signal(), 0); }

TEST(StopRequest, EachSignalIsARequest) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    const StopRequest request;
    std::raise(signal);
    EXPECT_EQ(request.signal(), signal);
    EXPECT_EQ(request.signal(), signal) << "it stays";
  }
}

TEST(StopRequest, TheLastSignalIsTold) {
  const StopRequest request;
  std::raise(SIGUSR1);
  std::raise(SIGTERM);
  EXPECT_EQ(request.signal(), SIGTERM);
}

TEST(StopRequest, OneOfAnEarlierRequestIsForgotten) {
  {
    const StopRequest request;
    std::raise(SIGUSR1);
  }
  EXPECT_EQ(StopRequest().signal(), 0);
}

TEST(StopRequest, RestoresTheFormerHandlers) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    seen_by_former = 0;
    auto* const before = std::signal(signal, former);
    {
      const StopRequest request;
      std::raise(signal);
      EXPECT_EQ(seen_by_former, 0);
    }
    std::raise(signal);
    EXPECT_EQ(seen_by_former, signal);
    std::signal(signal, before);
  }
}

}  // namespace
}  // namespace penstock
