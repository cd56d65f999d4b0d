// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dropout masks are pure functions of (seed, site, sample number, position, channel): the same on every mesh, in the
// backward pass and in a recomputation. One Philox counter covers 8 neighbours of the innermost dimension, 16 bits
// each.

#include <array>
#include <cstdint>

#include "base/random.hpp"

namespace penstock::ops {

/// The tokens of the rows of a [rows, C] tensor: row r is token first_row + r of a microbatch, whose tokens are counted
/// sample by sample, `sequence` positions each.
struct TokenRows {
  const std::uint64_t* first_sample =
      nullptr;                 ///< device memory: the run's sample number of the microbatch's first sample
  std::int64_t first_row = 0;  ///< tokens of the microbatch before row 0
  std::int64_t sequence = 1;   ///< positions of a sample

  std::uint64_t sample(std::int64_t row) const {
    return *first_sample + static_cast<std::uint64_t>((first_row + row) / sequence);
  }
  std::int64_t position(std::int64_t row) const { return (first_row + row) % sequence; }
};

/// One dropout site. Probability 0 is no dropout: masks are not computed.
struct Dropout {
  double probability = 0;  ///< of an element to become zero; used as a multiple of 1/65536
  RandomKey key;           ///< of the site: random_key(seed, name)

  bool active() const { return probability > 0; }
  /// An element is dropped when its 16 random bits are below this.
  std::uint32_t threshold() const { return static_cast<std::uint32_t>(probability * 65536.0 + 0.5); }
  /// The factor of kept elements, which preserves the expectation: 65536 / (65536 - threshold).
  float scale() const { return 65536.0F / (65536.0F - static_cast<float>(threshold())); }
};

/// 16 random bits for each of 8 neighbours, in order.
using DropoutBits = std::array<std::uint16_t, 8>;

inline DropoutBits unpack_dropout_bits(const RandomWords& words) {
  DropoutBits bits;
  for (std::size_t i = 0; i < 4; ++i) {
    bits[2 * i] = static_cast<std::uint16_t>(words[i]);
    bits[2 * i + 1] = static_cast<std::uint16_t>(words[i] >> 16);
  }
  return bits;
}

/// Bits of channels [8 * block, 8 * block + 8) of one token.
inline DropoutBits dropout_bits(RandomKey key, std::uint64_t sample, std::int64_t position, std::int64_t block) {
  return unpack_dropout_bits(
      random_words(key, RandomWords{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(position),
                                    static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32)}));
}

/// Bits of the attention probabilities from one query to key positions [8 * block, 8 * block + 8), global head index.
inline DropoutBits attention_dropout_bits(RandomKey key, std::uint64_t sample, std::int64_t head, std::int64_t query,
                                          std::int64_t block) {
  const auto head_and_sample = static_cast<std::uint32_t>(head) | static_cast<std::uint32_t>(sample >> 32) << 16;
  return unpack_dropout_bits(
      random_words(key, RandomWords{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(query),
                                    head_and_sample, static_cast<std::uint32_t>(sample)}));
}

}  // namespace penstock::ops
