// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 3 LABELS parity
// Tables whose ranks hold different numbers of stages: the results of one rank that holds the whole model.

#include <gtest/gtest.h>

#include "pipeline/tiny_model.hpp"
#include "support/test_world.hpp"

namespace penstock::uneven_table_test {
namespace {

using test::TinyBatch;
using test::TinyRank;
using test::TinySetup;

constexpr int microbatches = 4;
constexpr int updates = 3;

/// Each rank does all forwards stage by stage, then all backwards from its last stage to its first.
Schedule table_of(const std::vector<int>& placement, Backward backward) {
  Schedule table;
  table.name = "uneven";
  table.stages = static_cast<int>(placement.size());
  table.pipeline = 3;
  table.microbatches = microbatches;
  table.placement = placement;
  for (int rank = 0; rank < table.pipeline; ++rank) {
    std::vector<Action>& row = table.rows.emplace_back();
    const std::vector<int> stages = table.stages_of_rank(rank);
    for (const int stage : stages)
      for (int m = 0; m < microbatches; ++m) row.push_back({Work::forward, stage, m});
    for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage)
      for (int m = 0; m < microbatches; ++m) {
        row.push_back({backward == Backward::fused ? Work::backward : Work::input_gradient, *stage, m});
        if (backward == Backward::split) row.push_back({Work::weight_gradient, *stage, m});
      }
  }
  return table;
}

void expect_results_of_one_rank(const std::vector<int>& placement, Backward backward) {
  const TinySetup setup{.pipeline = 3,
                        .stages = static_cast<int>(placement.size()),
                        .dropout = 0.1,
                        .microbatches = microbatches,
                        .backward = backward,
                        .layers = 8};
  const Schedule table = table_of(placement, backward);
  TinyRank alone = TinyRank::alone(test_world(), setup);
  TinyRank rank(test_world(), setup, &table);
  for (int update = 1; update <= updates; ++update) {
    const TinyBatch batch(microbatches, static_cast<std::uint64_t>(100 * update));
    const StepResult expected = alone.train(batch, update), found = rank.train(batch, update);
    EXPECT_EQ(found.loss, expected.loss) << "update " << update << ", " << text(backward);
    EXPECT_EQ(found.gradient_norm, expected.gradient_norm) << "update " << update << ", " << text(backward);
  }
}

TEST(UnevenTable, OneTwoAndThreeStagesTrainAsOneRankDoes) {
  for (const Backward backward : {Backward::fused, Backward::split}) {
    expect_results_of_one_rank({0, 1, 1, 2, 2, 2}, backward);
    expect_results_of_one_rank({0, 1, 2, 1, 2, 2}, backward);
  }
}

TEST(UnevenTable, TheFirstAndTheLastStageMayMeetOnARank) {
  for (const Backward backward : {Backward::fused, Backward::split})
    expect_results_of_one_rank({2, 1, 2, 0, 1, 2}, backward);
}

}  // namespace
}  // namespace penstock::uneven_table_test
