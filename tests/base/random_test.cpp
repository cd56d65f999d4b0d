// SPDX-License-Identifier: Apache-2.0
#include "base/random.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace penstock::random_test {
namespace {

// The known answers that Salmon et al. publish with Random123 (tests/kat_vectors, philox4x32 with 10 rounds).
TEST(Random, PhiloxGivesThePublishedWords) {
  EXPECT_EQ(random_words({0, 0}, RandomWords{0, 0, 0, 0}),
            (RandomWords{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(random_words({0xffffffff, 0xffffffff}, RandomWords{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (RandomWords{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(random_words({0xa4093822, 0x299f31d0}, RandomWords{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (RandomWords{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, AnIndexFillsTheFirstTwoWordsOfTheCounter) {
  const RandomKey key{1, 2};
  EXPECT_EQ(random_words(key, std::uint64_t{0x0000000500000007}), random_words(key, RandomWords{7, 5, 0, 0}));
  EXPECT_NE(random_words(key, std::uint64_t{1} << 32), random_words(key, std::uint64_t{0}));
}

TEST(Random, TextsHashAsFnv1a) {
  // Published test values of the 64-bit FNV-1a (Fowler, Noll, Vo; RFC draft eastlake-fnv, appendix C).
  EXPECT_EQ(hash_text(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(hash_text("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(hash_text("foobar"), 0x85944171f73967e8ULL);
}

TEST(Random, BitsMixAsSplitMix64) { EXPECT_EQ(mix_bits(0), 0xe220a8397b1dcdafULL); }

TEST(Random, SeedsAndPurposesGiveKeysOfTheirOwn) {
  std::set<std::pair<std::uint32_t, std::uint32_t>> keys;
  for (std::uint64_t seed = 0; seed < 100; ++seed)
    for (int block = 0; block < 100; ++block) {
      const RandomKey key = random_key(seed, "blocks." + std::to_string(block));
      keys.emplace(key.low, key.high);
    }
  EXPECT_EQ(keys.size(), 10000U);
}

// The first moments of n independent standard normal numbers. Each bound is five standard deviations of the estimate
// (of the mean 1, of the square sqrt(2), of the cube sqrt(15), of the fourth power sqrt(96), over sqrt(n)); the key is
// fixed, so the test gives the same answer always.
TEST(Random, NormalNumbersHaveTheMomentsOfANormalDistribution) {
  constexpr int n = 1 << 20;
  const RandomKey key = random_key(1234, "moments");
  double sums[4] = {};
  for (int i = 0; i < n; ++i) {
    const double x = random_normal(key, static_cast<std::uint64_t>(i));
    for (double power = x; double& sum : sums) {
      sum += power;
      power *= x;
    }
  }
  const double root = std::sqrt(n);
  EXPECT_NEAR(sums[0] / n, 0, 5 * 1 / root);
  EXPECT_NEAR(sums[1] / n, 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(sums[2] / n, 0, 5 * std::sqrt(15.0) / root);
  EXPECT_NEAR(sums[3] / n, 3, 5 * std::sqrt(96.0) / root);
}

TEST(Random, NeighboursAreNotCorrelated) {
  constexpr int n = 1 << 18;
  const RandomKey key = random_key(7, "neighbours"), other = random_key(8, "neighbours");
  double next = 0, across = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    next += random_normal(key, i) * random_normal(key, i + 1);
    across += random_normal(key, i) * random_normal(other, i);
  }
  // A product of two independent normal numbers has deviation 1: five of the mean's deviations.
  EXPECT_NEAR(next / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(across / n, 0, 5 / std::sqrt(n));
}

TEST(Random, ANormalNumberIsAPureFunctionOfKeyAndIndex) {
  const RandomKey key = random_key(3, "pure");
  std::vector<double> forward, backward;
  for (int i = 0; i < 1000; ++i) forward.push_back(random_normal(key, static_cast<std::uint64_t>(i)));
  for (int i = 999; i >= 0; --i) backward.push_back(random_normal(key, static_cast<std::uint64_t>(i)));
  EXPECT_TRUE(std::equal(forward.begin(), forward.end(), backward.rbegin()));
}

}  // namespace
}  // namespace penstock::random_test
