// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/unicode_table.hpp"

#include <algorithm>
#include <iterator>

namespace penstock {
namespace {

struct UnicodeRange {
  char32_t first;
  std::uint8_t properties;
};
constexpr UnicodeRange unicode_ranges[] = {
#include "tokenizer/unicode_ranges.inc"
};

}  // namespace

UnicodeTable::UnicodeTable() : properties_(code_points) {
  for (const UnicodeRange* range = std::begin(unicode_ranges); range != std::end(unicode_ranges); ++range) {
    const char32_t end = range + 1 == std::end(unicode_ranges) ? code_points : range[1].first;
    std::fill(properties_.begin() + range->first, properties_.begin() + end, range->properties);
  }
}

}  // namespace penstock
