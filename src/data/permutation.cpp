// SPDX-License-Identifier: Apache-2.0
#include "data/permutation.hpp"

#include <bit>

#include "base/error.hpp"
#include "base/random.hpp"

namespace penstock {
namespace {

constexpr std::uint64_t mask(int bits) { return (std::uint64_t{1} << bits) - 1; }

std::uint64_t join(std::uint32_t low, std::uint32_t high) { return std::uint64_t{high} << 32 | low; }

}  // namespace

Permutation::Permutation(std::uint64_t seed, std::uint64_t epoch, std::uint64_t n) : n_(n) {
  ensure(n >= 1 && n <= std::uint64_t{1} << 62, "Permutation: n must lie in [1, 2^62]");
  const int bits = std::bit_width(n - 1);
  low_bits_ = (bits + 1) / 2;
  low_mask_ = mask(low_bits_);
  high_mask_ = mask(bits / 2);
  const RandomKey key = random_key(seed, "data order");
  for (std::uint32_t round = 0; round < rounds; round += 2) {
    const RandomWords words = random_words(
        key, RandomWords{static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(epoch >> 32), round, 0});
    round_keys_[round] = join(words[0], words[1]);
    round_keys_[round + 1] = join(words[2], words[3]);
  }
}

std::uint64_t Permutation::network(std::uint64_t value) const {
  // The halves differ by a bit if the number of bits is odd, so they take turns instead of swapping.
  std::uint64_t low = value & low_mask_;
  std::uint64_t high = value >> low_bits_;
  for (std::size_t round = 0; round < rounds; round += 2) {
    low ^= mix_bits(high ^ round_keys_[round]) & low_mask_;
    high ^= mix_bits(low ^ round_keys_[round + 1]) & high_mask_;
  }
  return high << low_bits_ | low;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  ensure(index < n_, "Permutation: the index lies outside [0, n)");
  // The network permutes a domain that contains [0, n): the cycle through `index` returns below n, at the latest at
  // `index` itself.
  std::uint64_t value = network(index);
  while (value >= n_) value = network(value);
  return value;
}

}  // namespace penstock
