// SPDX-License-Identifier: Apache-2.0
#pragma once
// A keyed shuffle of [0, n) in closed form: no table, so that a step's samples depend only on its number.

#include <array>
#include <cstddef>
#include <cstdint>

namespace penstock {

/// The order of the samples in one epoch: a bijection of [0, n), the same on every machine for (seed, epoch, n).
/// A Feistel network over the smallest power of two that holds n, walked along its cycle until the value lies below n
/// (under 2 rounds of the network on average). Source: Luby and Rackoff, "How to construct pseudorandom permutations",
/// SIAM J. Comput. 17 (1988); cycle walking: Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
class Permutation {
 public:
  /// n in [1, 2^62].
  Permutation(std::uint64_t seed, std::uint64_t epoch, std::uint64_t n);

  /// The image of `index`, in [0, n).
  std::uint64_t operator()(std::uint64_t index) const;
  std::uint64_t size() const { return n_; }

 private:
  // 4 rounds suffice for large halves (Luby, Rackoff). Halves of one or two bits mix slowly: over 10^6 epochs all
  // orders of 5 to 8 samples are equally likely (chi-square) with 32 rounds, and not yet with 20.
  static constexpr std::size_t rounds = 32;

  std::uint64_t network(std::uint64_t value) const;

  std::uint64_t n_;
  int low_bits_;
  std::uint64_t low_mask_;
  std::uint64_t high_mask_;
  std::array<std::uint64_t, rounds> round_keys_;
};

}  // namespace penstock
