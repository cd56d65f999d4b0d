// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/dropout.hpp"

#include <gtest/gtest.h>

#include <set>

#include "ops/reference/reference.hpp"
#include "support/random_tensor.hpp"

namespace penstock::dropout_test {
namespace {

using test::RandomTensors;
using test::TestTensor;

// Whether `hits` of `trials` agree with a probability to 5 standard deviations: a right mask fails once in a million.
::testing::AssertionResult is_frequency(double probability, std::int64_t hits, std::int64_t trials) {
  const auto n = static_cast<double>(trials);
  const double sigmas = (static_cast<double>(hits) - n * probability) / std::sqrt(n * probability * (1 - probability));
  if (std::abs(sigmas) <= 5) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << hits << " of " << trials << " is " << sigmas << " standard deviations off "
                                       << probability;
}

double effective_probability(const ops::Dropout& dropout) { return dropout.threshold() / 65536.0; }

TEST(Dropout, DropsAsOftenAsAsked) {
  RandomTensors random;
  for (const double probability : {0.1, 0.5, 0.9}) {
    const ops::Dropout dropout{.probability = probability, .key = random.next_key()};
    EXPECT_NEAR(effective_probability(dropout), probability, 0.5 / 65536);
    std::array<std::int64_t, 8> dropped{};  // by the place in a block of 8
    std::int64_t pairs = 0;                 // of neighbours, both dropped: independent, so probability squared
    const std::int64_t positions = 100, blocks = 100;
    for (std::int64_t position = 0; position < positions; ++position)
      for (std::int64_t block = 0; block < blocks; ++block) {
        const ops::DropoutBits bits = ops::dropout_bits(dropout.key, 12, position, block);
        for (std::size_t i = 0; i < 8; ++i) dropped[i] += bits[i] < dropout.threshold();
        pairs += bits[2] < dropout.threshold() && bits[3] < dropout.threshold();
      }
    const double p = effective_probability(dropout);
    for (const std::int64_t count : dropped) EXPECT_TRUE(is_frequency(p, count, positions * blocks));
    EXPECT_TRUE(is_frequency(p * p, pairs, positions * blocks));
  }
}

TEST(Dropout, AttentionDropsAsOftenAsAsked) {
  RandomTensors random;
  const ops::Dropout dropout{.probability = 0.1, .key = random.next_key()};
  std::int64_t dropped = 0, trials = 0;
  for (std::int64_t head = 0; head < 10; ++head)
    for (std::int64_t query = 0; query < 100; ++query)
      for (std::int64_t block = 0; block < 10; ++block)
        for (const std::uint16_t bits : ops::attention_dropout_bits(dropout.key, 1ULL << 33, head, query, block)) {
          dropped += bits < dropout.threshold();
          ++trials;
        }
  EXPECT_TRUE(is_frequency(effective_probability(dropout), dropped, trials));
}

TEST(Dropout, BackendDropsAsOftenAsAskedAndKeepsTheMean) {
  RandomTensors random;
  Queue queue;
  const std::int64_t R = 100, C = 104;
  const test::Shared<std::uint64_t> first_sample(5);
  const TestTensor ones(DType::float32, {R, C}), out(DType::float32, {R, C});
  reference::write(ones, reference::Values(static_cast<std::size_t>(R * C), 1.0));
  const ops::Dropout dropout{.probability = 0.1, .key = random.next_key()};
  ops::dropout_gradient(queue, {.dout = ones,
                                .dbranch = out,
                                .dropout = dropout,
                                .rows = {.first_sample = first_sample.get(), .first_row = 0, .sequence = 25}});
  std::int64_t dropped = 0;
  for (const double value : reference::read(out)) {
    dropped += value == 0;
    EXPECT_TRUE(value == 0 || value == static_cast<double>(dropout.scale()));
  }
  EXPECT_TRUE(is_frequency(effective_probability(dropout), dropped, R * C));
  // Kept elements are scaled so that the expectation stays 1.
  EXPECT_NEAR((1 - effective_probability(dropout)) * static_cast<double>(dropout.scale()), 1, 1e-6);
}

TEST(Dropout, BitsDifferWhereverAnythingDiffers) {
  // 128 bits are alike by chance once in 10^38; among 10^4 that is never.
  RandomTensors random;
  std::set<ops::DropoutBits> seen;
  std::size_t drawn = 0;
  const std::array<std::uint64_t, 6> samples = {0, 1, 4294967295ULL, 4294967296ULL, 4294967297ULL, 1ULL << 40};
  for (const RandomKey key : {random.next_key(), random.next_key()})
    for (const std::uint64_t sample : samples)
      for (std::int64_t position = 0; position < 20; ++position)
        for (std::int64_t block = 0; block < 20; ++block, ++drawn)
          seen.insert(ops::dropout_bits(key, sample, position, block));
  EXPECT_EQ(seen.size(), drawn);

  seen.clear(), drawn = 0;
  const RandomKey key = random.next_key();
  for (const std::uint64_t sample : samples)
    for (std::int64_t head = 0; head < 10; ++head)
      for (std::int64_t query = 0; query < 20; ++query)
        for (std::int64_t block = 0; block < 3; ++block, ++drawn)
          seen.insert(ops::attention_dropout_bits(key, sample, head, query, block));
  EXPECT_EQ(seen.size(), drawn);
}

TEST(Dropout, UnpacksTheLowerHalfFirst) {
  const ops::DropoutBits bits = ops::unpack_dropout_bits({0x00020001, 0x00040003, 0x00060005, 0x00080007});
  EXPECT_EQ(bits, (ops::DropoutBits{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(TokenRows, CountsOnThroughSamples) {
  const std::uint64_t first_sample = (1ULL << 32) - 1;
  const ops::TokenRows rows{.first_sample = &first_sample, .first_row = 5, .sequence = 4};
  EXPECT_EQ(rows.sample(0), 1ULL << 32);  // row 0 is token 5: position 1 of the second sample
  EXPECT_EQ(rows.position(0), 1);
  EXPECT_EQ(rows.sample(2), 1ULL << 32);
  EXPECT_EQ(rows.position(2), 3);
  EXPECT_EQ(rows.sample(3), (1ULL << 32) + 1);
  EXPECT_EQ(rows.position(3), 0);
}

}  // namespace
}  // namespace penstock::dropout_test
