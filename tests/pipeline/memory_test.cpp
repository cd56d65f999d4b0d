// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 4 SOURCES support/allocations.cpp UNSANITIZED
// What a rank holds against what was planned: to the byte in the arena, and nothing else inside a step.

#include <gtest/gtest.h>

#include <algorithm>

#include "pipeline/evaluation_schedule.hpp"
#include "pipeline/tiny_model.hpp"
#include "support/allocations.hpp"
#include "support/test_world.hpp"

namespace penstock::memory_test {
namespace {

using test::TinyBatch;
using test::TinyRank;
using test::TinySetup;

constexpr int global_microbatches = 8;

/// Twelve layouts of four ranks: every mesh, schedules of every kind, all policies, both types.
std::vector<TinySetup> layouts() {
  constexpr auto fifo = ScheduleName::fifo, ring = ScheduleName::ring, zb_h1 = ScheduleName::zb_h1,
                 zb_v = ScheduleName::zb_v, breadth_first = ScheduleName::breadth_first;
  constexpr auto bfloat = DType::bfloat16;
  std::vector<TinySetup> all{
      {.data = 4},
      {.data = 4, .shard = false, .compute = bfloat, .recompute = Recompute::block},
      {.pipeline = 4, .backward = Backward::fused, .recompute = Recompute::block},
      {.pipeline = 4, .compute = bfloat, .schedule = ring, .recompute = Recompute::attention, .chunks = 2, .layers = 9},
      {.pipeline = 4, .schedule = zb_h1, .recompute = Recompute::block},
      {.pipeline = 4, .schedule = zb_v, .chunks = 2, .layers = 8},
      {.tensor = 4, .recompute = Recompute::block_local},
      {.tensor = 4, .sequence_parallel = false, .compute = bfloat},
      {.data = 2, .pipeline = 2, .schedule = ring, .chunks = 2, .layers = 7},
      {.data = 2, .pipeline = 2, .shard = false, .schedule = breadth_first, .backward = Backward::fused, .chunks = 2},
      {.data = 2, .tensor = 2, .compute = bfloat, .recompute = Recompute::block_local},
      {.pipeline = 2, .tensor = 2, .schedule = fifo, .recompute = Recompute::elementwise},
  };
  for (TinySetup& setup : all) {
    setup.microbatches = global_microbatches;
    setup.dropout = 0.1;
  }
  return all;
}

TinyBatch batch_of(int update) { return {global_microbatches, static_cast<std::uint64_t>(100 * update)}; }

TEST(Memory, TheArenasHighestChangedByteIsThePlansLast) {
  constexpr int pattern = 0xA5;
  for (TinySetup setup : layouts()) {
    TinyRank clean(test_world(), setup);
    setup.pattern = pattern;
    TinyRank rank(test_world(), setup);
    for (int update = 1; update <= 2; ++update)
      EXPECT_EQ(rank.train(batch_of(update), update).loss, clean.train(batch_of(update), update).loss)
          << "nothing is read before it was written, " << setup.text();
    const std::span<const std::byte> memory = rank.memory();
    const auto highest =
        std::find_if(memory.rbegin(), memory.rend(), [](std::byte b) { return b != std::byte{pattern}; });
    const auto mark = static_cast<std::size_t>(memory.rend() - highest);
    constexpr std::size_t line = 256;  // of which the arena gives
    EXPECT_EQ((mark + line - 1) / line * line, plan_memory(rank.plan(), rank.place(), rank.queue().threads()).total())
        << setup.text();
  }
}

TEST(Memory, TheHookSeesWhatThisProgramTakes) {
  test::start_counting_allocations();
  const auto taken = std::make_unique<std::vector<double>>(100);
  const std::string text = fmt::format("{:>100}", taken->size());
  const DeviceMemory pages(10'000);
  const test::Allocations seen = test::stop_counting_allocations();
  EXPECT_EQ(seen.penstock, 4U) << text << ": a vector, its elements, a text, pages";
  EXPECT_EQ(seen.largest, pages.bytes());
}

// First steps grow lists, which later ones keep. After that, between two steps' begin and end, evaluations included,
// this program's code takes nothing. What oneDNN and OpenMP take inside their calls is counted apart and reported.
TEST(Memory, StepsTakeNoneFromTheHeap) {
  for (const TinySetup& setup : layouts()) {
    TinyRank rank(test_world(), setup);
    const Schedule evaluation = evaluation_schedule(rank.plan().schedule, rank.plan().schedule.microbatches);
    const RowPlan row = rank.model().row_of(evaluation);
    std::vector<TinyBatch> batches;
    for (int update = 1; update <= 5; ++update) batches.push_back(batch_of(update));
    std::vector<StepTokens> tokens;
    for (const TinyBatch& batch : batches) tokens.push_back(rank.part_of(batch));
    const auto step = [&](int update) {
      const StepValues values{.update = update, .learning_rate = 0.01, .tokens = batches.front().tokens()};
      rank.executor().train(tokens[static_cast<std::size_t>(update - 1)], values);
      rank.executor().evaluate(row, tokens[static_cast<std::size_t>(update - 1)], values);
    };
    test::start_counting_allocations();
    for (int update = 1; update <= 2; ++update) step(update);
    EXPECT_LT(test::stop_counting_allocations().largest, 8192U)
        << "first steps grow lists; a tensor is missing in the plan, " << setup.text();
    test_world().barrier();
    test::start_counting_allocations();
    for (int update = 3; update <= 5; ++update) step(update);
    const test::Allocations taken = test::stop_counting_allocations();
    EXPECT_EQ(taken.penstock, 0U) << setup.text() << "\n" << taken.first;
    EXPECT_EQ(taken.other, 0U) << setup.text();
    if (test_world().rank() == 0)
      fmt::print("{}: oneDNN {}, MPI {}, OpenMP {}\n", setup.text(), taken.onednn, taken.mpi, taken.openmp);
  }
}

}  // namespace
}  // namespace penstock::memory_test
