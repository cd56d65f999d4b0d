// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sixteen float32 lanes, written with GCC's vector extensions: one AVX-512 register where there is one, several
// narrower ones elsewhere. Loads and stores convert from and to the type in memory; exp2 and GELU are polynomials, for
// the C++ library's functions take one number at a time.

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>

#include "tensor/dtype.hpp"

// Vectors are passed between inlined functions only, so how a call would pass them does not matter.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace penstock::ops {

inline constexpr std::int64_t lanes = 16;
using Floats [[gnu::vector_size(64)]] = float;
using Words [[gnu::vector_size(64)]] = std::uint32_t;
using Ints [[gnu::vector_size(64)]] = std::int32_t;
using HalfWords [[gnu::vector_size(32)]] = std::uint16_t;

#define PENSTOCK_INLINE [[gnu::always_inline]] inline

PENSTOCK_INLINE Floats splat(float value) { return value - Floats{}; }  // x - 0 is x, also where x = -0

// Where the processor has one instruction for what otherwise takes several, it is named. (All lanes are asked for by a
// mask, because GCC 12 warns that the forms without one read an uninitialized register.)
#ifdef __AVX512F__
inline constexpr __mmask16 every_lane = 0xffff;
#endif

/// The greater number of each lane; b where a is not a number.
PENSTOCK_INLINE Floats greater_of(Floats a, Floats b) {
#ifdef __AVX512F__
  return std::bit_cast<Floats>(_mm512_maskz_max_ps(every_lane, std::bit_cast<__m512>(a), std::bit_cast<__m512>(b)));
#else
  return a > b ? a : b;
#endif
}

/// The 16 lanes' numbers, counted from `first`.
PENSTOCK_INLINE Ints lane_numbers(std::int32_t first) {
  return Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + first;
}

/// All lanes of a vector are elements, or only the first `count`.
struct All {};
struct Some {
  std::int64_t count;
};

/// Calls f(c, lanes) for c = 0, 16, 32, ... below n; the last call may hold fewer lanes.
template <typename F>
PENSTOCK_INLINE void for_vectors(std::int64_t n, F&& f) {
  std::int64_t c = 0;
  for (; c + lanes <= n; c += lanes) f(c, All{});
  if (c < n) f(c, Some{n - c});
}

PENSTOCK_INLINE Floats widen(HalfWords bits) {
#ifdef __AVX512F__
  const __m512i words = _mm512_maskz_cvtepu16_epi32(every_lane, std::bit_cast<__m256i>(bits));
  return std::bit_cast<Floats>(std::bit_cast<Words>(words) << 16);
#else
  return std::bit_cast<Floats>(__builtin_convertvector(bits, Words) << 16);
#endif
}
/// Rounds to nearest even, as penstock::bfloat16 does.
PENSTOCK_INLINE HalfWords narrow(Floats values) {
#if defined __AVX512BF16__ && defined __AVX512DQ__
  constexpr int subnormal = 0x20;  // the instruction would make zeros of these
  if (_mm512_fpclass_ps_mask(std::bit_cast<__m512>(values), subnormal) == 0) [[likely]]
    return std::bit_cast<HalfWords>(_mm512_cvtneps_pbh(std::bit_cast<__m512>(values)));
#endif
  const Words bits = std::bit_cast<Words>(values);
  const Words rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const Words quiet_nan = (bits >> 16) | 0x40U;
  return __builtin_convertvector((bits & 0x7fffffffU) > 0x7f800000U ? quiet_nan : rounded, HalfWords);
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
/// Lanes behind the last element read as zero.
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
/// Lanes behind the last element become `filler`.
PENSTOCK_INLINE Floats fill_behind(Floats values, All, float) { return values; }
PENSTOCK_INLINE Floats fill_behind(Floats values, Some some, float filler) {
  return lane_numbers(0) < static_cast<std::int32_t>(some.count) ? values : splat(filler);
}

/// The sum of the lanes: halves, quarters and so on, always in this order.
PENSTOCK_INLINE float sum_of(Floats v) {
  v += __builtin_shuffle(v, Ints{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
  v += __builtin_shuffle(v, Ints{4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3});
  v += __builtin_shuffle(v, Ints{2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1});
  v += __builtin_shuffle(v, Ints{1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0});
  return v[0];
}
PENSTOCK_INLINE float greatest_of(Floats v) {
  v = greater_of(v, __builtin_shuffle(v, Ints{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}));
  v = greater_of(v, __builtin_shuffle(v, Ints{4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3}));
  v = greater_of(v, __builtin_shuffle(v, Ints{2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1}));
  v = greater_of(v, __builtin_shuffle(v, Ints{1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0}));
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

/// 2^x; relative error below 3e-7 from 2^-126 to 2^128, infinity above, and 0 at -infinity. NaN stays NaN.
/// 2^x = 2^n 2^f with n the integer nearest to x.
PENSTOCK_INLINE Floats exp2_of(Floats x) {
#ifdef __AVX512F__
  const __m512 bounded =
      _mm512_maskz_min_ps(every_lane, _mm512_set1_ps(200.0F),
                          _mm512_maskz_max_ps(every_lane, _mm512_set1_ps(-200.0F), std::bit_cast<__m512>(x)));
  const __m512 n = _mm512_maskz_roundscale_ps(every_lane, bounded, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Floats power = exp2_of_fraction(std::bit_cast<Floats>(bounded) - std::bit_cast<Floats>(n));
  return std::bit_cast<Floats>(_mm512_maskz_scalef_ps(every_lane, std::bit_cast<__m512>(power), n));
#else
  const Floats bounded = x > 128.0F ? splat(128.0F) : x < -126.0F ? splat(-126.0F) : x;
  const Floats shifted = bounded + 12582912.0F;  // 1.5 * 2^23: the lowest bits of the sum are n
  const Floats power = exp2_of_fraction(bounded - (shifted - 12582912.0F));
  const Floats result = std::bit_cast<Floats>(std::bit_cast<Words>(power) + (std::bit_cast<Words>(shifted) << 23));
  return x < -126.0F ? Floats{} : result;
#endif
}

/// e^x, to a relative error of 3e-7 + |x| * 2e-8.
PENSTOCK_INLINE Floats exp_of(Floats x) { return exp2_of(x * std::numbers::log2e_v<float>); }

/// The square roots of the lanes. (GCC makes no vector instruction of std::sqrt, which might have to set errno.)
PENSTOCK_INLINE Floats square_root(Floats values) {
#ifdef __AVX512F__
  return std::bit_cast<Floats>(_mm512_maskz_sqrt_ps(every_lane, std::bit_cast<__m512>(values)));
#else
  Floats roots{};
  for (int i = 0; i < lanes; ++i) roots[i] = std::sqrt(values[i]);
  return roots;
#endif
}

/// 1 / (1 + e^(-2 z)) with z = sqrt(2/pi) (u + 0.044715 u^3), for 0.5 (1 + tanh z) is just that.
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

}  // namespace penstock::ops
