// SPDX-License-Identifier: Apache-2.0
#pragma once
// The factor of one element at a dropout site: 0 or the scale. One mask lookup for each element; blocks of 8 are for
// the fast backends.

#include "ops/dropout.hpp"

namespace penstock::reference {

inline double dropout_factor(const ops::Dropout& dropout, const ops::TokenRows& rows, std::int64_t row,
                             std::int64_t channel) {
  if (!dropout.active()) return 1;
  const ops::DropoutBits bits = ops::dropout_bits(dropout.key, rows.sample(row), rows.position(row), channel / 8);
  const bool dropped = bits[static_cast<std::size_t>(channel % 8)] < dropout.threshold();
  return dropped ? 0.0 : static_cast<double>(dropout.scale());
}

inline double attention_dropout_factor(const ops::Dropout& dropout, std::uint64_t sample, std::int64_t head,
                                       std::int64_t query, std::int64_t key_position) {
  if (!dropout.active()) return 1;
  const ops::DropoutBits bits = ops::attention_dropout_bits(dropout.key, sample, head, query, key_position / 8);
  const bool dropped = bits[static_cast<std::size_t>(key_position % 8)] < dropout.threshold();
  return dropped ? 0.0 : static_cast<double>(dropout.scale());
}

}  // namespace penstock::reference
