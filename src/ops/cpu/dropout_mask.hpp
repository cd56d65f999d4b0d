// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dropout's random bits for many neighbours at once: Philox4x32-10 (base/random.hpp) over 16 counters, which differ in
// their first word only, in 16 lanes. The bits are those of dropout_bits and attention_dropout_bits in dropout.hpp.

#include <array>
#include <cstdint>

#include "ops/cpu/vector_math.hpp"
#include "ops/dropout.hpp"

namespace penstock::ops {

struct LongProducts {
  Words low;
  Words high;
};

PENSTOCK_INLINE LongProducts long_products(Words a, std::uint32_t factor) {
  using Longs [[gnu::vector_size(64)]] = std::uint64_t;
  constexpr std::uint64_t low_half = 0xffffffffULL;
  const Longs pairs = std::bit_cast<Longs>(a);
  const Longs even = (pairs & low_half) * std::uint64_t{factor};
  const Longs odd = (pairs >> 32) * std::uint64_t{factor};
  return {std::bit_cast<Words>((even & low_half) | (odd << 32)),
          std::bit_cast<Words>((even >> 32) | (odd & ~low_half))};
}

/// Neighbours that one call of `random_bits` covers: 16 counters of 8.
inline constexpr std::int64_t neighbours_at_once = 128;

/// Bits of neighbours 8 * first_block ... in order, 16 each.
inline void random_bits(RandomKey key, std::uint32_t first_block, std::array<std::uint32_t, 3> rest,
                        std::uint16_t* bits) {
  Words counter0 = std::bit_cast<Words>(lane_numbers(0)) + first_block;
  Words counter1 = Words{} + rest[0];
  Words counter2 = Words{} + rest[1];
  Words counter3 = Words{} + rest[2];
  for (int round = 0; round < 10; ++round) {
    const LongProducts a = long_products(counter0, 0xD2511F53U);
    const LongProducts b = long_products(counter2, 0xCD9E8D57U);
    counter0 = b.high ^ counter1 ^ key.low;
    counter1 = b.low;
    counter2 = a.high ^ counter3 ^ key.high;
    counter3 = a.low;
    key.low += 0x9E3779B9U;
    key.high += 0xBB67AE85U;
  }
  // From one vector a word to one group of four words a counter.
  using Pairs [[gnu::vector_size(64)]] = std::uint64_t;
  const Ints low{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  const Ints high = low + 8;
  const Pairs first_low = std::bit_cast<Pairs>(__builtin_shuffle(counter0, counter1, low));
  const Pairs first_high = std::bit_cast<Pairs>(__builtin_shuffle(counter0, counter1, high));
  const Pairs second_low = std::bit_cast<Pairs>(__builtin_shuffle(counter2, counter3, low));
  const Pairs second_high = std::bit_cast<Pairs>(__builtin_shuffle(counter2, counter3, high));
  using PairNumbers [[gnu::vector_size(64)]] = std::int64_t;
  const PairNumbers low_pairs{0, 8, 1, 9, 2, 10, 3, 11};
  const PairNumbers high_pairs = low_pairs + 4;
  const Pairs out[4] = {
      __builtin_shuffle(first_low, second_low, low_pairs), __builtin_shuffle(first_low, second_low, high_pairs),
      __builtin_shuffle(first_high, second_high, low_pairs), __builtin_shuffle(first_high, second_high, high_pairs)};
  static_assert(std::endian::native == std::endian::little, "the lower 16 bits of a word come first");
  std::memcpy(bits, out, sizeof out);
}

/// What 16 neighbours are multiplied with: 0 or the scale.
PENSTOCK_INLINE Floats dropout_factors(const std::uint16_t* bits, std::uint32_t threshold, float scale) {
  HalfWords drawn;
  std::memcpy(&drawn, bits, sizeof drawn);
  const Words words = __builtin_convertvector(drawn, Words);
  return words >= threshold ? splat(scale) : Floats{};
}

/// The factors along the channels of a token, made as they are asked for.
class DropoutRow {
 public:
  DropoutRow(const Dropout& dropout, std::uint64_t sample, std::int64_t position)
      : key_(dropout.key),
        rest_{static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(sample),
              static_cast<std::uint32_t>(sample >> 32)},
        threshold_(dropout.threshold()),
        scale_(dropout.scale()) {}

  /// Factors of channels [channel, channel + 16); channels are asked for in steps of 16 from 0 on.
  PENSTOCK_INLINE Floats at(std::int64_t channel) {
    const std::int64_t offset = channel % neighbours_at_once;
    if (offset == 0) random_bits(key_, static_cast<std::uint32_t>(channel / 8), rest_, bits_.data());
    return dropout_factors(bits_.data() + offset, threshold_, scale_);
  }

 private:
  RandomKey key_;
  std::array<std::uint32_t, 3> rest_;
  std::uint32_t threshold_;
  float scale_;
  alignas(64) std::array<std::uint16_t, neighbours_at_once> bits_;
};

/// Where dropout is off.
class NoDropoutRow {
 public:
  PENSTOCK_INLINE Floats at(std::int64_t) const { return splat(1.0F); }
};

}  // namespace penstock::ops
