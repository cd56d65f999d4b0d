// SPDX-License-Identifier: Apache-2.0
#pragma once
// Float32 lanes of one register, written with GCC's vector extensions: 16 if the file is compiled for AVX-512,
// otherwise 8. Loads and stores convert from and to the type in memory. exp2 and GELU are polynomials, because the C++
// library's functions take one number at a time.

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <utility>

#include "tensor/dtype.hpp"

// Vectors are passed between inlined functions only, so how a call would pass them does not matter.
#pragma GCC diagnostic ignored "-Wpsabi"

// A program may contain both widths of an operation. Code that depends on the width is in a namespace of that width: of
// two definitions with one name the linker would keep either.
#ifdef __AVX512F__
#define PENSTOCK_WIDTH lanes_16
#else
#define PENSTOCK_WIDTH lanes_8
#endif

namespace penstock::ops {
inline namespace PENSTOCK_WIDTH {

#ifdef __AVX512F__
inline constexpr std::int64_t lanes = 16;
#else
inline constexpr std::int64_t lanes = 8;
#endif
using Floats [[gnu::vector_size(4 * lanes)]] = float;
using Words [[gnu::vector_size(4 * lanes)]] = std::uint32_t;
using Ints [[gnu::vector_size(4 * lanes)]] = std::int32_t;
using HalfWords [[gnu::vector_size(2 * lanes)]] = std::uint16_t;

#define PENSTOCK_INLINE [[gnu::always_inline]] inline

PENSTOCK_INLINE Floats splat(float value) { return value - Floats{}; }  // x - 0 is x, also where x = -0

// Uses an intrinsic where one instruction replaces several. (With a mask of all lanes, because GCC 12 warns that the
// forms without one read an uninitialized register.)
#ifdef __AVX512F__
inline constexpr __mmask16 every_lane = 0xffff;
#endif

/// The greater number of each lane; b if one of them is NaN.
PENSTOCK_INLINE Floats greater_of(Floats a, Floats b) {
#if defined __AVX512F__
  return std::bit_cast<Floats>(_mm512_maskz_max_ps(every_lane, std::bit_cast<__m512>(a), std::bit_cast<__m512>(b)));
#elif defined __AVX2__
  return std::bit_cast<Floats>(_mm256_max_ps(std::bit_cast<__m256>(a), std::bit_cast<__m256>(b)));
#else
  return a > b ? a : b;
#endif
}
/// The lesser number of each lane; b if one of them is NaN.
PENSTOCK_INLINE Floats lesser_of(Floats a, Floats b) {
#if defined __AVX512F__
  return std::bit_cast<Floats>(_mm512_maskz_min_ps(every_lane, std::bit_cast<__m512>(a), std::bit_cast<__m512>(b)));
#elif defined __AVX2__
  return std::bit_cast<Floats>(_mm256_min_ps(std::bit_cast<__m256>(a), std::bit_cast<__m256>(b)));
#else
  return a < b ? a : b;
#endif
}

/// number_of(0), number_of(1), ... in the lanes of a vector; for constants, such as the masks of a shuffle.
template <typename Vector = Ints, typename F>
constexpr Vector lanes_from(F number_of) {
  return [number_of]<int... lane>(std::integer_sequence<int, lane...>) { return Vector{number_of(lane)...}; }
  (std::make_integer_sequence<int, static_cast<int>(sizeof(Vector) / sizeof(Vector{}[0]))>{});
}

/// The lanes' numbers, counted from `first`.
PENSTOCK_INLINE Ints lane_numbers(std::int32_t first) {
  constexpr Ints numbers = lanes_from([](int lane) { return lane; });
  return numbers + first;
}

/// All lanes of a vector are elements, or only the first `count`.
struct All {};
struct Some {
  std::int64_t count;
};

/// Calls f(c, All or Some) for c = 0, lanes, 2 * lanes, ... below n; the last call may have fewer lanes.
template <typename F>
PENSTOCK_INLINE void for_vectors(std::int64_t n, F&& f) {
  std::int64_t c = 0;
  for (; c + lanes <= n; c += lanes) f(c, All{});
  if (c < n) f(c, Some{n - c});
}

PENSTOCK_INLINE Words widened_words(HalfWords halves) {
#if defined __AVX512F__
  return std::bit_cast<Words>(_mm512_maskz_cvtepu16_epi32(every_lane, std::bit_cast<__m256i>(halves)));
#elif defined __AVX2__
  return std::bit_cast<Words>(_mm256_cvtepu16_epi32(std::bit_cast<__m128i>(halves)));
#else
  return __builtin_convertvector(halves, Words);
#endif
}
PENSTOCK_INLINE Floats widen(HalfWords bits) { return std::bit_cast<Floats>(widened_words(bits) << 16); }
/// Rounds to nearest even, as penstock::bfloat16 does.
PENSTOCK_INLINE HalfWords narrow(Floats values) {
#if defined __AVX512BF16__ && defined __AVX512DQ__
  constexpr int subnormal = 0x20;  // the instruction would turn these into zeros
  if (_mm512_fpclass_ps_mask(std::bit_cast<__m512>(values), subnormal) == 0) [[likely]]
    return std::bit_cast<HalfWords>(_mm512_cvtneps_pbh(std::bit_cast<__m512>(values)));
#endif
  const Words bits = std::bit_cast<Words>(values);
  const Words rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const Words quiet_nan = (bits >> 16) | 0x40U;
  const Words halves = values == values ? rounded : quiet_nan;
#if defined __AVX2__ && !defined __AVX512F__
  const __m256i words = std::bit_cast<__m256i>(halves);
  return std::bit_cast<HalfWords>(_mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
#else
  return __builtin_convertvector(halves, HalfWords);
#endif
}

PENSTOCK_INLINE Floats load(const float* from, All) {
  Floats values;
  std::memcpy(&values, from, sizeof values);
  return values;
}
PENSTOCK_INLINE Floats load(const bfloat16* from, All) {
  HalfWords bits;
  std::memcpy(&bits, from, sizeof bits);
  return widen(bits);
}
PENSTOCK_INLINE void store(float* to, Floats values, All) { std::memcpy(to, &values, sizeof values); }
PENSTOCK_INLINE void store(bfloat16* to, Floats values, All) {
  const HalfWords bits = narrow(values);
  std::memcpy(to, &bits, sizeof bits);
}
/// Lanes after the last element read as zero.
template <typename T>
PENSTOCK_INLINE Floats load(const T* from, Some some) {
  T padded[lanes] = {};
  std::memcpy(padded, from, static_cast<std::size_t>(some.count) * sizeof(T));
  return load(padded, All{});
}
template <typename T>
PENSTOCK_INLINE void store(T* to, Floats values, Some some) {
  T padded[lanes];
  store(padded, values, All{});
  std::memcpy(to, padded, static_cast<std::size_t>(some.count) * sizeof(T));
}
/// Lanes after the last element become `filler`.
PENSTOCK_INLINE Floats fill_behind(Floats values, All, float) { return values; }
PENSTOCK_INLINE Floats fill_behind(Floats values, Some some, float filler) {
  return lane_numbers(0) < static_cast<std::int32_t>(some.count) ? values : splat(filler);
}

/// Combines each lane with the one `half` further on.
template <int half>
PENSTOCK_INLINE Floats rotated(Floats v) {
  constexpr Ints from = lanes_from([](int lane) { return (lane + half) % static_cast<int>(lanes); });
  return __builtin_shuffle(v, from);
}
/// The sum of the lanes: halves, quarters and so on, always in this order.
PENSTOCK_INLINE float sum_of(Floats v) {
  if constexpr (lanes == 16) v += rotated<8>(v);
  v += rotated<4>(v);
  v += rotated<2>(v);
  v += rotated<1>(v);
  return v[0];
}
PENSTOCK_INLINE float greatest_of(Floats v) {
  if constexpr (lanes == 16) v = greater_of(v, rotated<8>(v));
  v = greater_of(v, rotated<4>(v));
  v = greater_of(v, rotated<2>(v));
  v = greater_of(v, rotated<1>(v));
  return v[0];
}

/// 2^f for f in [-1/2, 1/2]: the polynomial of degree 5 with the least relative error, 8e-8, its constant term made 1.
PENSTOCK_INLINE Floats exp2_of_fraction(Floats f) {
  Floats power = splat(0.00132779393F);
  power = power * f + 0.00967575796F;
  power = power * f + 0.0555070974F;
  power = power * f + 0.240221143F;
  power = power * f + 0.693146944F;
  return power * f + 1.0F;
}

/// 2^x; relative error below 3e-7 from 2^-126 to 2^128, infinity above, something from 0 to 2^-126 below, and 0 at
/// -infinity. NaN stays NaN. 2^x = 2^n 2^f with n the integer nearest to x.
PENSTOCK_INLINE Floats exp2_of(Floats x) {
#ifdef __AVX512F__
  const Floats bounded = lesser_of(splat(200.0F), greater_of(splat(-200.0F), x));
  const __m512 n = _mm512_maskz_roundscale_ps(every_lane, std::bit_cast<__m512>(bounded),
                                              _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Floats power = exp2_of_fraction(bounded - std::bit_cast<Floats>(n));
  return std::bit_cast<Floats>(_mm512_maskz_scalef_ps(every_lane, std::bit_cast<__m512>(power), n));
#else
  const Floats bounded = lesser_of(splat(128.0F), greater_of(splat(-127.0F), x));
  const Floats shifted = bounded + 12582912.0F;  // 1.5 * 2^23: the lowest bits of the sum are n
  const Floats power = exp2_of_fraction(bounded - (shifted - 12582912.0F));
  return std::bit_cast<Floats>(std::bit_cast<Words>(power) + (std::bit_cast<Words>(shifted) << 23));
#endif
}

/// e^x, to a relative error of 3e-7 + |x| * 2e-8.
PENSTOCK_INLINE Floats exp_of(Floats x) { return exp2_of(x * std::numbers::log2e_v<float>); }

/// The square roots of the lanes. (GCC does not vectorize std::sqrt, which might have to set errno.)
PENSTOCK_INLINE Floats square_root(Floats values) {
#if defined __AVX512F__
  return std::bit_cast<Floats>(_mm512_maskz_sqrt_ps(every_lane, std::bit_cast<__m512>(values)));
#elif defined __AVX2__
  return std::bit_cast<Floats>(_mm256_sqrt_ps(std::bit_cast<__m256>(values)));
#else
  Floats roots{};
  for (int i = 0; i < lanes; ++i) roots[i] = std::sqrt(values[i]);
  return roots;
#endif
}

/// 1 / (1 + e^(-2 z)) with z = sqrt(2/pi) (u + 0.044715 u^3), which equals 0.5 (1 + tanh z).
PENSTOCK_INLINE Floats gelu_gate(Floats u) {
  constexpr float slope = -2 * std::numbers::log2e_v<float> * 0.7978845608028654F;
  const Floats exponent = u * (slope + slope * 0.044715F * (u * u));
  return 1.0F / (1.0F + exp2_of(exponent));
}
PENSTOCK_INLINE Floats gelu(Floats u) { return u * gelu_gate(u); }
/// d gelu / du = g + u g (1 - g) * 2 dz/du, g the gate.
PENSTOCK_INLINE Floats gelu_slope(Floats u) {
  constexpr float slope = 2 * 0.7978845608028654F;
  const Floats gate = gelu_gate(u);
  return gate + u * gate * (1.0F - gate) * (slope + slope * 3 * 0.044715F * (u * u));
}

}  // namespace PENSTOCK_WIDTH
}  // namespace penstock::ops
