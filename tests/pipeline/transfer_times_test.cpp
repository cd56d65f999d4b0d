// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 3 TIMEOUT 60
#include "pipeline/transfer_times.hpp"

#include <gtest/gtest.h>

#include "pipeline/tiny_model.hpp"
#include "support/test_world.hpp"

namespace penstock::transfer_times_test {
namespace {

TEST(TransferTimes, AreMeasuredBetweenNeighbours) {
  test::TinyRank rank(test_world(), {.pipeline = test_world().size(), .microbatches = 4});
  Queue queue;
  Communicators communicators(test_world(), queue,
                              Mesh({{"pipeline", test_world().size()}, {"data", 1}, {"tensor", 1}}));
  const TransferTimes times = measure_transfers(communicators, queue, rank.model(), 1e-4);
  const bool asks = test_world().rank() % 2 == 0 && test_world().rank() + 1 < test_world().size();
  EXPECT_EQ(times.hop > 0, asks) << "the lower one of each pair knows";
  EXPECT_EQ(times.overhead > 0, asks);
  rank.train({4, 100}, 1);  // no message is left that a step could take for its own
}

// For long forward passes the measurement would exceed this test's timeout.
TEST(TransferTimes, DoNotPauseTheRunForAsLongAsPassesTake) {
  test::TinyRank rank(test_world(), {.pipeline = test_world().size(), .microbatches = 4});
  Queue queue;
  Communicators communicators(test_world(), queue,
                              Mesh({{"pipeline", test_world().size()}, {"data", 1}, {"tensor", 1}}));
  constexpr double hour = 3600;
  measure_transfers(communicators, queue, rank.model(), hour);
}

}  // namespace
}  // namespace penstock::transfer_times_test
