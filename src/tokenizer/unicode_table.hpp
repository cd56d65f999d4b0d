// SPDX-License-Identifier: Apache-2.0
#pragma once
// The properties of code points that split patterns and normalizers need, for one pinned version of Unicode
// (scripts/make_unicode_table).

#include <cstdint>
#include <vector>

namespace penstock {

/// A byte for each code point; a value of 1.1 MB that lives as long as its tokenizer.
class UnicodeTable {
 public:
  static constexpr std::uint8_t letter = 1, number = 2, space = 4, mark = 8;
  static constexpr std::uint8_t digit = 16;  ///< a number (N) in the Unicode of the pre-tokenizer Digits
  static constexpr std::uint8_t nfc = 32;    ///< NFC may change, move or join it
  static constexpr std::uint8_t word = 64;   ///< \w: may not touch an added token with single_word
  static constexpr char32_t code_points = 0x110000;

  UnicodeTable();

  std::uint8_t operator[](char32_t code_point) const { return properties_[code_point]; }

 private:
  std::vector<std::uint8_t> properties_;  // [code_points]
};

}  // namespace penstock
