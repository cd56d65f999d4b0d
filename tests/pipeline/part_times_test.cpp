// SPDX-License-Identifier: Apache-2.0
#include "pipeline/part_times.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace penstock::part_times_test {
namespace {

const PartCosts operations{.embedding = 0, .blocks = {10, 10}, .head = 20};

std::vector<StagePart> parts_of(const std::vector<std::int64_t>& blocks) {
  std::int64_t all = 0;
  for (const std::int64_t b : blocks) all += b;
  return given_partition(static_cast<int>(all), static_cast<int>(blocks.size()), blocks);
}

Costs measured_of(const std::vector<StagePart>& parts, const PartTimes& times) { return costs_of(parts, times); }

const PartTimes times{.block = {2, 3, 1},
                      .embedding = {0.5, 0.25, 0},
                      .head = {4, 8, 5},
                      .whole_step = {{Work::update, 7}},
                      .hop = 0.75,
                      .overhead = 0.25};

void expect_equal(const StageCosts& a, const StageCosts& b) {
  EXPECT_DOUBLE_EQ(a.forward, b.forward);
  EXPECT_DOUBLE_EQ(a.input_gradient, b.input_gradient);
  EXPECT_DOUBLE_EQ(a.weight_gradient, b.weight_gradient);
}

TEST(PartTimes, AreFoundWhereStagesStandBetweenTheEnds) {
  const auto parts = parts_of({3, 2, 4, 1});
  const PartTimes found = part_times(parts, operations, measured_of(parts, times));
  expect_equal(found.block, times.block);
  expect_equal(found.embedding, times.embedding);
  expect_equal(found.head, times.head);
  EXPECT_EQ(found.whole_step, times.whole_step);
  EXPECT_EQ(found.hop, times.hop);
  EXPECT_EQ(found.overhead, times.overhead);
}

TEST(PartTimes, OfTwoStagesCountTheEmbeddingToTheBlocks) {
  PartTimes plain = times;
  plain.embedding = {0, 0, 0};
  const auto parts = parts_of({4, 4});
  const PartTimes found = part_times(parts, operations, measured_of(parts, plain));
  expect_equal(found.block, plain.block);
  expect_equal(found.head, plain.head);
  const Costs ring = costs_of(parts_of({2, 2, 2, 2}), found);
  expect_equal(ring.stages[0], {4, 6, 2});
  expect_equal(ring.stages[3], {8, 14, 7});
}

TEST(PartTimes, OfOneStageShareItAsTheirOperations) {
  const auto parts = parts_of({2});
  const PartTimes found = part_times(parts, operations, {.stages = {{40, 80, 120}}, .hop = 0, .whole_step = {}});
  expect_equal(found.block, {10, 20, 30});
  expect_equal(found.head, {20, 40, 60});
}

TEST(PartTimes, SurviveTheirJson) {
  const PartTimes read = read_part_times(part_times_json(times, "this deck"), "this deck");
  expect_equal(read.block, times.block);
  expect_equal(read.embedding, times.embedding);
  expect_equal(read.head, times.head);
  EXPECT_EQ(read.whole_step, times.whole_step);
  EXPECT_EQ(read.hop, times.hop);
  EXPECT_EQ(read.overhead, times.overhead);
}

TEST(PartTimes, OfAnotherDeckOrNoneAreRefused) {
  EXPECT_THROW(read_part_times(part_times_json(times, "this deck"), "another"), InputError);
  EXPECT_THROW(read_part_times("{}", "this deck"), InputError);
  EXPECT_THROW(read_part_times("no json", "this deck"), InputError);
}

}  // namespace
}  // namespace penstock::part_times_test
