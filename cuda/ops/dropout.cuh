// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dropout masks in kernels: the bits of ops/dropout.hpp (Philox4x32-10 from Random123), one counter for 8 neighbours.

#include <Random123/philox.h>

#include <cstdint>

#include "ops/dropout.hpp"

namespace penstock::ops {

/// One Dropout for a kernel; passed by value. Threshold 0: dropout is off.
struct DropoutSite {
  RandomKey key;
  std::uint32_t threshold = 0;
  float scale = 1;

  DropoutSite() = default;
  explicit DropoutSite(const Dropout& dropout) {
    if (!dropout.active()) return;
    key = dropout.key;
    threshold = dropout.threshold();
    scale = dropout.scale();
  }
  __host__ __device__ bool active() const { return threshold > 0; }
};

/// TokenRows in a kernel: its numbers are read from device memory.
__device__ inline std::uint64_t sample_of_row(const TokenRows& rows, std::int64_t row) {
  return *rows.first_sample + static_cast<std::uint64_t>((rows.first_row + row) / rows.sequence);
}
__host__ __device__ inline std::int64_t position_of_row(const TokenRows& rows, std::int64_t row) {
  return (rows.first_row + row) % rows.sequence;
}

/// 16 random bits for each of 8 neighbours; two of them in a word, the lower half first.
struct PackedDropoutBits {
  std::uint32_t words[4];

  __device__ std::uint32_t of(int neighbour) const { return words[neighbour / 2] >> 16 * (neighbour % 2) & 0xffffU; }
};

__device__ inline PackedDropoutBits packed_random_bits(RandomKey key, std::uint32_t counter0, std::uint32_t counter1,
                                                       std::uint32_t counter2, std::uint32_t counter3) {
  const philox4x32_ctr_t counter = {{counter0, counter1, counter2, counter3}};
  const philox4x32_key_t philox_key = {{key.low, key.high}};
  const philox4x32_ctr_t out = philox4x32(counter, philox_key);
  return {{out.v[0], out.v[1], out.v[2], out.v[3]}};
}

/// Bits of channels [8 * block, 8 * block + 8) of one token.
__device__ inline PackedDropoutBits token_dropout_bits(RandomKey key, std::uint64_t sample, std::int64_t position,
                                                       std::int64_t block) {
  return packed_random_bits(key, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(position),
                            static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32));
}

/// Bits of the attention probabilities from one query to key positions [8 * block, 8 * block + 8), global head index.
__device__ inline PackedDropoutBits attention_dropout_bits_on_device(RandomKey key, std::uint64_t sample,
                                                                     std::int64_t head, std::int64_t query,
                                                                     std::int64_t block) {
  const auto head_and_sample = static_cast<std::uint32_t>(head) | static_cast<std::uint32_t>(sample >> 32) << 16;
  return packed_random_bits(key, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(query), head_and_sample,
                            static_cast<std::uint32_t>(sample));
}

/// The factor of a neighbour: 0 or the scale.
__device__ inline float dropout_factor(const DropoutSite& site, const PackedDropoutBits& bits, int neighbour) {
  return bits.of(neighbour) < site.threshold ? 0.0F : site.scale;
}

/// The factor of one channel of a token. For 8 channels together dropout_factors costs an eighth.
__device__ inline float dropout_factor(const DropoutSite& site, std::uint64_t sample, std::int64_t position,
                                       std::int64_t channel) {
  if (!site.active()) return 1.0F;
  return dropout_factor(site, token_dropout_bits(site.key, sample, position, channel / 8),
                        static_cast<int>(channel % 8));
}

/// The factors of channels [8 * block, 8 * block + 8) of a token.
__device__ inline void dropout_factors(const DropoutSite& site, std::uint64_t sample, std::int64_t position,
                                       std::int64_t block, float (&factors)[8]) {
  if (!site.active()) {
    for (float& factor : factors) factor = 1.0F;
    return;
  }
  const PackedDropoutBits bits = token_dropout_bits(site.key, sample, position, block);
  for (int i = 0; i < 8; ++i) factors[i] = dropout_factor(site, bits, i);
}

}  // namespace penstock::ops
