// SPDX-License-Identifier: Apache-2.0
#include "model/partition.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <utility>

#include "base/error.hpp"

namespace penstock::partition_test {
namespace {

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no InputError was thrown";
  return {};
}

/// Of `blocks` blocks that cost 1 each.
PartCosts even_costs(int blocks, double embedding, double head) {
  return {.embedding = embedding, .blocks = std::vector<double>(static_cast<std::size_t>(blocks), 1.0), .head = head};
}

/// (the costliest stage, sum of squared costs) of a partition.
std::pair<double, double> quality(const std::vector<int>& blocks_of_stage, const PartCosts& costs) {
  double largest = 0, squares = 0;
  auto next = costs.blocks.begin();
  for (std::size_t s = 0; s < blocks_of_stage.size(); ++s) {
    const auto first = std::exchange(next, next + blocks_of_stage[s]);
    const double cost = std::accumulate(first, next, 0.0) + (s == 0 ? costs.embedding : 0) +
                        (s + 1 == blocks_of_stage.size() ? costs.head : 0);
    largest = std::max(largest, cost);
    squares += cost * cost;
  }
  return {largest, squares};
}

/// Calls `visit` with every way of cutting `blocks` into `stages` runs of at least one.
void for_each_partition(int blocks, int stages, std::vector<int>& so_far, const std::function<void()>& visit) {
  if (stages == 1) {
    so_far.push_back(blocks);
    visit();
    so_far.pop_back();
    return;
  }
  for (int own = 1; own <= blocks - (stages - 1); ++own) {
    so_far.push_back(own);
    for_each_partition(blocks - own, stages - 1, so_far, visit);
    so_far.pop_back();
  }
}

void expect_contiguous(const std::vector<StagePart>& parts, int blocks, int stages) {
  ASSERT_EQ(parts.size(), static_cast<std::size_t>(stages));
  int first = 0;
  for (int s = 0; s < stages; ++s) {
    const StagePart& part = parts[static_cast<std::size_t>(s)];
    EXPECT_EQ(part.stage, s);
    EXPECT_EQ(part.first_block, first);
    EXPECT_GE(part.blocks, 1);
    EXPECT_EQ(part.embedding, s == 0);
    EXPECT_EQ(part.head, s == stages - 1);
    first += part.blocks;
  }
  EXPECT_EQ(first, blocks);
}

std::vector<int> blocks_of(const std::vector<StagePart>& parts) {
  std::vector<int> blocks;
  for (const StagePart& part : parts) blocks.push_back(part.blocks);
  return blocks;
}

TEST(BalancedPartition, IsTheBestOfAllPartitions) {
  std::mt19937 generator(1);
  std::uniform_real_distribution<double> cost(0.0, 4.0);
  for (int blocks = 1; blocks <= 9; ++blocks)
    for (int stages = 1; stages <= blocks; ++stages)
      for (int repetition = 0; repetition < 10; ++repetition) {
        PartCosts costs = even_costs(blocks, cost(generator), cost(generator));
        if (repetition % 2 == 1)  // blocks of several kinds, in quarters so that their sums are exact
          for (double& block : costs.blocks) block = 0.25 * std::ceil(4 * cost(generator));
        std::pair<double, double> best{1e300, 1e300};
        std::vector<int> tried;
        for_each_partition(blocks, stages, tried, [&] { best = std::min(best, quality(tried, costs)); });
        const std::vector<StagePart> parts = balanced_partition(stages, costs);
        expect_contiguous(parts, blocks, stages);
        const auto [largest, squares] = quality(blocks_of(parts), costs);
        EXPECT_EQ(largest, best.first) << blocks << " blocks, " << stages << " stages";
        // Sums of squares are added in another order: nine roundings of 1e-16 each.
        EXPECT_NEAR(squares, best.second, 1e-13 * best.second) << blocks << " blocks, " << stages << " stages";
      }
}

TEST(BalancedPartition, TakesBlocksFromTheStageOfACostlyHead) {
  EXPECT_EQ(blocks_of(balanced_partition(2, even_costs(8, 0, 2))), (std::vector<int>{5, 3}));
  EXPECT_EQ(blocks_of(balanced_partition(4, even_costs(8, 0, 0))), (std::vector<int>{2, 2, 2, 2}));
}

TEST(BalancedPartition, RefusesMoreStagesThanBlocks) {
  const std::string message = message_of([] { balanced_partition(4, even_costs(3, 1, 1)); });
  EXPECT_NE(message.find("4 stages"), std::string::npos) << message;
  EXPECT_NE(message.find("model.layers = 3"), std::string::npos) << message;
}

TEST(GivenPartition, IsTakenAsItStands) {
  const std::vector<StagePart> parts = given_partition(7, 3, {1, 4, 2});
  expect_contiguous(parts, 7, 3);
  EXPECT_EQ(blocks_of(parts), (std::vector<int>{1, 4, 2}));
}

TEST(GivenPartition, RefusesWhatDoesNotFitAndShowsIt) {
  for (const std::vector<std::int64_t>& given :
       {std::vector<std::int64_t>{4, 4}, {2, 3, 2}, {3, 4, 2}, {8, 1, -1}, {8, 0, 0}, {}}) {
    const std::string message = message_of([&] { given_partition(8, 3, given); });
    EXPECT_NE(message.find("schedule.partition"), std::string::npos) << message;
    EXPECT_NE(message.find("3 stages"), std::string::npos) << message;
    EXPECT_NE(message.find("8 blocks"), std::string::npos) << message;
  }
  EXPECT_NE(message_of([] { given_partition(8, 2, {3, 4}); }).find("[3, 4]"), std::string::npos);
  EXPECT_NE(message_of([] { given_partition(2, 3, {1, 1, 1}); }).find("model.layers = 2"), std::string::npos);
}

TEST(PartCosts, AreTheFormulas) {
  const ModelDescription gpt2 =
      describe_model({.layers = 12, .width = 768, .heads = 12, .vocabulary = 50257, .positions = 1024});
  const PartCosts costs = part_costs(gpt2, 1024);
  EXPECT_EQ(costs.blocks.size(), 12U);
  for (const double block : costs.blocks) EXPECT_DOUBLE_EQ(block, 24.0 * 768 * 768 + 2.0 * 1025 * 768);
  EXPECT_DOUBLE_EQ(costs.head, 2.0 * 768 * 50257);
  EXPECT_DOUBLE_EQ(costs.embedding, 8.0 * 768);
}

}  // namespace
}  // namespace penstock::partition_test
