// SPDX-License-Identifier: Apache-2.0
#pragma once
// UTF-8: finds characters and broken bytes, and handles text that comes in parts.

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

inline constexpr std::string_view replacement_character = "\xef\xbf\xbd";  // U+FFFD

/// What stands at a place of any bytes. Broken: `bytes` is the length of the maximal part that begins a character and
/// goes on wrongly (Unicode 16.0, section 3.9, "U+FFFD Substitution of Maximal Subparts"), at least 1.
struct Utf8Step {
  std::uint32_t bytes = 0;
  bool good = false;
  bool cut = false;  ///< incomplete only because the text ends here
};
/// `at` < text.size().
Utf8Step utf8_step(std::string_view text, std::size_t at);

/// The first byte at or after `from` that is not well-formed UTF-8; text.size() where all is.
std::size_t first_broken_byte(std::string_view text, std::size_t from = 0);

struct RepairedText {
  std::string text;
  std::size_t broken_parts = 0;
};
/// Each maximal broken part is replaced by U+FFFD, as in Python's bytes.decode("utf-8", "replace").
RepairedText repaired(std::string_view text);

struct CodePoint {
  char32_t value;
  std::uint32_t bytes;
};
/// Of well-formed text.
inline CodePoint code_point_at(const char* at) {
  const auto byte = [at](int i) { return static_cast<char32_t>(static_cast<unsigned char>(at[i])); };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xe0) return {(first & 0x1fU) << 6 | (byte(1) & 0x3fU), 2};
  if (first < 0xf0) return {(first & 0xfU) << 12 | (byte(1) & 0x3fU) << 6 | (byte(2) & 0x3fU), 3};
  return {(first & 7U) << 18 | (byte(1) & 0x3fU) << 12 | (byte(2) & 0x3fU) << 6 | (byte(3) & 0x3fU), 4};
}
void append_utf8(char32_t code_point, std::string& text);

/// Bytes that come in parts become text that never ends inside a character.
class Utf8Stream {
 public:
  /// What a broken part becomes: one U+FFFD, or (as in SentencePiece) one for each of its bytes.
  enum class Broken { one_for_a_part, one_for_a_byte };
  explicit Utf8Stream(Broken broken = Broken::one_for_a_part) : broken_(broken) {}

  /// The text that is complete by now. The bytes of an incomplete character are kept.
  std::string add(std::string_view bytes);
  /// The rest at the end: nothing, or U+FFFD for an incomplete character.
  std::string finish();

 private:
  void replace(std::uint32_t bytes, std::string& text) const;

  Broken broken_;
  std::string waiting_;
};

}  // namespace penstock
