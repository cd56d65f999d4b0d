// SPDX-License-Identifier: Apache-2.0
#include "data/batch_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "data/permutation.hpp"
#include "data/temporary_folder.hpp"

namespace penstock::batch_plan_test {
namespace {

BatchPlan plan_of(int global, int micro, int data, std::uint64_t samples = 1000) {
  return BatchPlan(
      {.seed = 11, .samples_in_file = samples, .global_batch = global, .micro_batch = micro, .data_ranks = data});
}

/// Numbers of a step in the order in which data ranks and microbatches stand.
std::vector<std::uint64_t> numbers_of_step(const BatchPlan& plan, std::uint64_t samples_drawn) {
  std::vector<std::uint64_t> numbers;
  for (int d = 0; d < plan.options().data_ranks; ++d)
    for (int b = 0; b < plan.microbatches(); ++b)
      for (int i = 0; i < plan.options().micro_batch; ++i)
        numbers.push_back(plan.first_sample(samples_drawn, d, b) + static_cast<std::uint64_t>(i));
  return numbers;
}

TEST(BatchPlanTest, AStepTakesTheNextNumbersWhateverTheMesh) {
  std::vector<std::uint64_t> expected(24);
  std::iota(expected.begin(), expected.end(), 480);
  for (const auto& [micro, data] : std::vector<std::pair<int, int>>{{1, 1}, {24, 1}, {1, 24}, {2, 3}, {4, 2}, {3, 8}})
    EXPECT_EQ(numbers_of_step(plan_of(24, micro, data), 480), expected) << micro << ", " << data;
}

TEST(BatchPlanTest, ADataCoordinateHasAContiguousBlock) {
  const BatchPlan plan = plan_of(24, 2, 3);
  EXPECT_EQ(plan.microbatches(), 4);
  EXPECT_EQ(plan.samples_per_step(), 24U);
  EXPECT_EQ(plan.first_sample(100, 0, 0), 100U);
  EXPECT_EQ(plan.first_sample(100, 0, 3), 106U);
  EXPECT_EQ(plan.first_sample(100, 2, 1), 118U);
}

TEST(BatchPlanTest, EverySampleComesOnceAnEpoch) {
  const BatchPlan plan = plan_of(16, 2, 2, 77);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < 77; ++i) seen.insert(plan.file_sample(epoch * 77 + i));
    EXPECT_EQ(seen.size(), 77U);
    EXPECT_EQ(*seen.rbegin(), 76U);
  }
}

TEST(BatchPlanTest, AnEpochMayEndInsideAStep) {
  const BatchPlan plan = plan_of(16, 2, 2, 10);  // a step longer than the file
  const Permutation first(11, 0, 10), second(11, 1, 10);
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(plan.file_sample(i), first(i));
  for (std::uint64_t i = 10; i < 16; ++i) EXPECT_EQ(plan.file_sample(i), second(i - 10));
}

TEST(BatchPlanTest, OrderDependsOnSeedAndNumberOnly) {
  const BatchPlan narrow = plan_of(8, 1, 1), wide = plan_of(64, 4, 8);
  const BatchPlan other({.seed = 12, .samples_in_file = 1000, .global_batch = 8, .micro_batch = 1, .data_ranks = 1});
  int different = 0;
  for (std::uint64_t number = 0; number < 2500; ++number) {
    EXPECT_EQ(narrow.file_sample(number), wide.file_sample(number));
    different += narrow.file_sample(number) != other.file_sample(number);
  }
  EXPECT_GT(different, 2400);  // independent shuffles of 1000 share 2 or 3 places of 2500
}

TEST(BatchPlanTest, AnotherBatchSizeGoesOnWithTheNextUnseenSample) {
  std::vector<std::uint64_t> drawn = numbers_of_step(plan_of(6, 2, 1), 0);
  const auto later = numbers_of_step(plan_of(10, 5, 2), drawn.size());
  drawn.insert(drawn.end(), later.begin(), later.end());
  std::vector<std::uint64_t> expected(16);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(drawn, expected);
}

TEST(BatchPlanTest, NamesTheValuesThatWouldDo) {
  const std::string message = test::input_error([] { plan_of(16, 2, 3); });
  for (const std::string part :
       {"batch.global = 16", "2 * 3 = 6", "batch.global = 12 or 18", "mesh.data = 1, 2, 4 or 8"})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
  EXPECT_EQ(message.find("or batch.micro ="), std::string::npos) << message;  // no micro helps: 3 does not divide 16

  const std::string other = test::input_error([] { plan_of(4, 3, 2); });
  for (const std::string part : {"batch.global = 6", "batch.micro = 1 or 2"})
    EXPECT_NE(other.find(part), std::string::npos) << part << "\n" << other;
}

TEST(BatchPlanTest, RefusesNumbersBelowOne) {
  EXPECT_NE(test::input_error([] { plan_of(0, 1, 1); }).find("batch.global = 0"), std::string::npos);
  EXPECT_NE(test::input_error([] { plan_of(8, -2, 1); }).find("batch.micro = -2"), std::string::npos);
  EXPECT_NE(test::input_error([] { plan_of(8, 2, 0); }).find("mesh.data = 0"), std::string::npos);
  EXPECT_THROW(plan_of(8, 2, 1, 0), LogicError);
  EXPECT_THROW(plan_of(8, 2, 2).first_sample(0, 2, 0), LogicError);
  EXPECT_THROW(plan_of(8, 2, 2).first_sample(0, 0, 2), LogicError);
}

}  // namespace
}  // namespace penstock::batch_plan_test
