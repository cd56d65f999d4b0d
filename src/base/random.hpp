// SPDX-License-Identifier: Apache-2.0
#pragma once
// Counter-based random numbers: a value is a pure function of (key, counter), so that it is the same on every mesh.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox4x32-10, from Random123).

#include <Random123/philox.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace penstock {

/// Four words of 32 random bits.
using RandomWords = std::array<std::uint32_t, 4>;

/// Separates one stream of random numbers from another: (seed, purpose).
struct RandomKey {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
};

/// 64-bit FNV-1a of a text, for keys made from names.
constexpr std::uint64_t hash_text(std::string_view text, std::uint64_t hash = 14695981039346656037ULL) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

/// The finalizer of SplitMix64: spreads every input bit over all output bits.
constexpr std::uint64_t mix_bits(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// The key of the stream named `purpose` (a parameter's name, a dropout site) under the run's seed.
constexpr RandomKey random_key(std::uint64_t seed, std::string_view purpose) {
  const std::uint64_t mixed = mix_bits(mix_bits(seed) ^ hash_text(purpose));
  return {static_cast<std::uint32_t>(mixed), static_cast<std::uint32_t>(mixed >> 32)};
}

inline RandomWords random_words(RandomKey key, const RandomWords& counter) {
  const philox4x32_ctr_t in = {{counter[0], counter[1], counter[2], counter[3]}};
  const philox4x32_key_t k = {{key.low, key.high}};
  const philox4x32_ctr_t out = philox4x32(in, k);
  return {out.v[0], out.v[1], out.v[2], out.v[3]};
}

/// Four random words of the element `index`.
inline RandomWords random_words(RandomKey key, std::uint64_t index) {
  return random_words(key,
                      RandomWords{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 0});
}

/// The standard normal number of the element `index` (Box-Muller).
inline double random_normal(RandomKey key, std::uint64_t index) {
  const RandomWords w = random_words(key, index);
  const double u = (static_cast<double>(w[0]) + 0.5) * 0x1p-32;  // in (0, 1): the logarithm stays finite
  const double v = (static_cast<double>(w[1]) + 0.5) * 0x1p-32;
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace penstock
