// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 TIMEOUT 30
// A rank has one of these threads for each group that spans nodes, and they end in any order: the timeout is the test.

#include "comm/mpi/transfer_progress.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "support/test_world.hpp"

namespace penstock::transfer_progress_test {
namespace {

TEST(TransferProgress, TwoEndInAnyOrder) {
  test_world();
  std::optional<TransferProgress> first, second;
  for (const bool first_ends_first : {true, false}) {
    first.emplace();
    second.emplace();
    for (TransferProgress* progress : {&*first, &*second}) progress->opened();
    (first_ends_first ? first : second).reset();
    (first_ends_first ? second : first).reset();
  }
}

}  // namespace
}  // namespace penstock::transfer_progress_test
