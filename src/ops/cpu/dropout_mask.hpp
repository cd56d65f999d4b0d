// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dropout's random bits for many neighbours at once: Philox4x32-10 (base/random.hpp) over 16 counters, one for each
// lane, which differ only in their first word. The bits are those of dropout_bits and attention_dropout_bits in
// dropout.hpp.

#include <array>
#include <cstdint>

#include "ops/cpu/vector_math.hpp"
#include "ops/dropout.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

struct LongProducts {
  Words low;
  Words high;
};

/// The products of the lanes with even numbers: one instruction, which GCC does not find by itself.
PENSTOCK_INLINE Words even_products(Words a, std::uint32_t factor) {
#if defined __AVX512F__
  return std::bit_cast<Words>(_mm512_maskz_mul_epu32(0xff, std::bit_cast<__m512i>(a), _mm512_set1_epi64(factor)));
#elif defined __AVX2__
  return std::bit_cast<Words>(_mm256_mul_epu32(std::bit_cast<__m256i>(a), _mm256_set1_epi64x(factor)));
#else
  using Longs [[gnu::vector_size(sizeof(Words))]] = std::uint64_t;
  return std::bit_cast<Words>((std::bit_cast<Longs>(a) & 0xffffffffULL) * std::uint64_t{factor});
#endif
}

PENSTOCK_INLINE LongProducts long_products(Words a, std::uint32_t factor) {
  constexpr int n = static_cast<int>(lanes);
  constexpr Ints low = lanes_from([](int lane) { return lane % 2 == 0 ? lane : n + lane - 1; });
  constexpr Ints high = lanes_from([](int lane) { return lane % 2 == 0 ? lane + 1 : n + lane; });
  constexpr Ints neighbour = lanes_from([](int lane) { return lane ^ 1; });
  const Words even = even_products(a, factor);
  const Words odd = even_products(__builtin_shuffle(a, neighbour), factor);
  return {__builtin_shuffle(even, odd, low), __builtin_shuffle(even, odd, high)};
}

/// Neighbours that one call of `random_bits` covers: 16 counters of 8.
inline constexpr std::int64_t neighbours_at_once = 128;

/// Bits of neighbours 8 * first_block ... in order, 16 each.
inline void random_bits(RandomKey key, std::uint32_t first_block, std::array<std::uint32_t, 3> rest,
                        std::uint16_t* bits) {
  constexpr std::int64_t vectors = neighbours_at_once / 8 / lanes;
  Words counters[vectors][4];
  for (std::int64_t v = 0; v < vectors; ++v) {
    counters[v][0] = std::bit_cast<Words>(lane_numbers(static_cast<std::int32_t>(v * lanes))) + first_block;
    for (std::size_t word = 0; word < 3; ++word) counters[v][word + 1] = Words{} + rest[word];
  }
  for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 2
    for (auto& counter : counters) {
      const LongProducts a = long_products(counter[0], 0xD2511F53U);
      const LongProducts b = long_products(counter[2], 0xCD9E8D57U);
      counter[0] = b.high ^ counter[1] ^ key.low;
      counter[1] = b.low;
      counter[2] = a.high ^ counter[3] ^ key.high;
      counter[3] = a.low;
    }
    key.low += 0x9E3779B9U;
    key.high += 0xBB67AE85U;
  }
  // From one vector for each word to one group of four words for each counter.
  using Pairs [[gnu::vector_size(sizeof(Words))]] = std::uint64_t;
  using PairNumbers [[gnu::vector_size(sizeof(Words))]] = std::int64_t;
  constexpr int n = static_cast<int>(lanes);
  constexpr Ints low = lanes_from([](int lane) { return lane / 2 + lane % 2 * n; });
  constexpr Ints high = low + n / 2;
  constexpr auto low_pairs = lanes_from<PairNumbers>([](int pair) { return pair / 2 + pair % 2 * n / 2; });
  constexpr PairNumbers high_pairs = low_pairs + n / 4;
  for (const auto& counter : counters) {
    const Pairs first_low = std::bit_cast<Pairs>(__builtin_shuffle(counter[0], counter[1], low));
    const Pairs first_high = std::bit_cast<Pairs>(__builtin_shuffle(counter[0], counter[1], high));
    const Pairs second_low = std::bit_cast<Pairs>(__builtin_shuffle(counter[2], counter[3], low));
    const Pairs second_high = std::bit_cast<Pairs>(__builtin_shuffle(counter[2], counter[3], high));
    const Pairs out[4] = {
        __builtin_shuffle(first_low, second_low, low_pairs), __builtin_shuffle(first_low, second_low, high_pairs),
        __builtin_shuffle(first_high, second_high, low_pairs), __builtin_shuffle(first_high, second_high, high_pairs)};
    static_assert(std::endian::native == std::endian::little, "the lower 16 bits of a word come first");
    std::memcpy(bits, out, sizeof out);
    bits += 8 * lanes;
  }
}

/// The factors of a vector of neighbours: 0 or the scale.
PENSTOCK_INLINE Floats dropout_factors(const std::uint16_t* bits, std::uint32_t threshold, float scale) {
  HalfWords drawn;
  std::memcpy(&drawn, bits, sizeof drawn);
  const Ints words = std::bit_cast<Ints>(widened_words(drawn));  // signed: AVX2 compares only these
  return words >= static_cast<std::int32_t>(threshold) ? splat(scale) : Floats{};
}

/// The factors along the channels of a token, computed on demand.
class DropoutRow {
 public:
  DropoutRow(const Dropout& dropout, std::uint64_t sample, std::int64_t position)
      : key_(dropout.key),
        rest_{static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(sample),
              static_cast<std::uint32_t>(sample >> 32)},
        threshold_(dropout.threshold()),
        scale_(dropout.scale()) {}

  /// Factors of a vector of channels from `channel` on; channels must come in steps of `lanes`, from 0 on.
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

/// For no dropout.
class NoDropoutRow {
 public:
  PENSTOCK_INLINE Floats at(std::int64_t) const { return splat(1.0F); }
};

}  // namespace penstock::ops::PENSTOCK_WIDTH
