// SPDX-License-Identifier: Apache-2.0
#include "data/permutation.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/error.hpp"

namespace penstock::permutation_test {
namespace {

std::vector<std::uint64_t> all_values(const Permutation& permutation) {
  std::vector<std::uint64_t> values;
  for (std::uint64_t i = 0; i < permutation.size(); ++i) values.push_back(permutation(i));
  return values;
}

void expect_bijection(const Permutation& permutation) {
  std::vector<std::uint64_t> values = all_values(permutation);
  std::sort(values.begin(), values.end());
  for (std::uint64_t i = 0; i < permutation.size(); ++i) ASSERT_EQ(values[i], i) << "n = " << permutation.size();
}

/// Sum of (seen - expected)^2 / expected over cells that are equally likely.
double chi_square(const std::vector<int>& seen) {
  double total = 0;
  for (const int count : seen) total += count;
  const double expected = total / static_cast<double>(seen.size());
  double sum = 0;
  for (const int count : seen) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(PermutationTest, TakesEveryValueOnce) {
  for (std::uint64_t n = 1; n <= 300; ++n)
    for (const std::uint64_t epoch : {0, 1}) expect_bijection({1234, epoch, n});
  for (const std::uint64_t n : {4096, 4097, 65535, 65537, 1000000}) expect_bijection({7, 3, n});
}

TEST(PermutationTest, TakesValuesOnceInAFileOfMoreThanMemory) {
  for (const int bits : {33, 40, 61, 62}) {
    const std::uint64_t n = (std::uint64_t{1} << bits) - (bits == 62 ? 0 : 12345);
    const Permutation permutation(5, 0, n);
    std::set<std::uint64_t> values;
    for (std::uint64_t i = 0; i < 100'000; ++i) {
      const std::uint64_t value = permutation(i < 50'000 ? i : n - 1 - i);
      ASSERT_LT(value, n);
      values.insert(value);
    }
    EXPECT_EQ(values.size(), 100'000U);
  }
}

TEST(PermutationTest, IsTheSameForEver) {
  // A run that is restarted under a newer Penstock must see the same order: these numbers never change.
  // A second implementation, in Python with its own Philox, gave the same.
  const Permutation large(42, 1, std::uint64_t{1} << 40);
  EXPECT_EQ(large(0), 871'846'765'838U);
  EXPECT_EQ(large(1), 151'558'695'010U);
  EXPECT_EQ(large(999'999'999'999), 1'091'519'381'809U);
  EXPECT_EQ(all_values({42, 0, 10}), (std::vector<std::uint64_t>{3, 7, 6, 0, 4, 9, 5, 8, 1, 2}));
  EXPECT_EQ(all_values({42, 1, 10}), (std::vector<std::uint64_t>{8, 4, 6, 7, 1, 5, 9, 2, 0, 3}));
}

TEST(PermutationTest, DiffersBetweenSeedsEpochsAndSizes) {
  const auto base = all_values({1, 0, 1000});
  const std::vector<std::vector<std::uint64_t>> others = {all_values({2, 0, 1000}), all_values({1, 1, 1000}),
                                                          all_values({1, std::uint64_t{1} << 32, 1000}),
                                                          all_values({std::uint64_t{1} << 32 | 1, 0, 1000})};
  for (const auto& other : others) {
    int same = 0;
    for (std::size_t i = 0; i < base.size(); ++i) same += base[i] == other[i];
    EXPECT_LT(same, 10);  // independent shuffles share one place on average (Poisson): 10 has odds of 1e-7
  }
}

TEST(PermutationTest, EveryPlaceIsEquallyLikelyForEveryIndex) {
  constexpr int seeds = 20'000, n = 20;
  for (const std::uint64_t index : {0, 7, 19}) {
    std::vector<int> seen(n);
    for (std::uint64_t seed = 0; seed < seeds; ++seed) ++seen[Permutation(seed, 0, n)(index)];
    EXPECT_LT(chi_square(seen), 55.0);  // 19 degrees of freedom: odds of more are 2e-5
  }
}

TEST(PermutationTest, EveryOrderOfFewSamplesIsEquallyLikely) {
  constexpr std::uint64_t epochs = 100'000;
  // {samples, orders, bound}: the bound is passed with odds of about 2e-5 at (orders - 1) degrees of freedom
  struct Case {
    std::uint64_t n;
    std::size_t orders;
    double bound;
  };
  for (const Case& c : {Case{2, 2, 18.2}, Case{3, 6, 29.3}, Case{4, 24, 61.5}, Case{5, 120, 192.0}}) {
    std::map<std::vector<std::uint64_t>, int> seen;
    for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) ++seen[all_values({99, epoch, c.n})];
    std::vector<int> counts;
    for (const auto& [order, count] : seen) counts.push_back(count);
    EXPECT_EQ(counts.size(), c.orders) << c.n;
    EXPECT_LT(chi_square(counts), c.bound) << c.n;
  }
}

TEST(PermutationTest, NeighboursDoNotStayTogether) {
  // Distances of neighbours modulo n fall evenly into 16 ranges.
  constexpr std::uint64_t n = 100'000;
  const Permutation permutation(3, 0, n);
  std::vector<int> seen(16);
  for (std::uint64_t i = 0; i + 1 < n; ++i) ++seen[(permutation(i + 1) + n - permutation(i)) % n * 16 / n];
  EXPECT_LT(chi_square(seen), 48.5);  // 15 degrees of freedom: odds of more are 2e-5
}

TEST(PermutationTest, RefusesWhatItCannotShuffle) {
  EXPECT_THROW(Permutation(1, 0, 0), LogicError);
  EXPECT_THROW(Permutation(1, 0, (std::uint64_t{1} << 62) + 1), LogicError);
  EXPECT_THROW(Permutation(1, 0, 5)(5), LogicError);
}

}  // namespace
}  // namespace penstock::permutation_test
