// SPDX-License-Identifier: Apache-2.0
#pragma once
// Scanners for the split patterns that most byte-level tokenizers have. Each does what its regular expression says, but
// takes linear time, does not recurse, and depends on no library's version of Unicode. Tests compare them with PCRE2.

#include <cstdint>
#include <optional>
#include <string_view>

#include "tokenizer/unicode_table.hpp"
#include "tokenizer/utf8.hpp"

namespace penstock {

enum class SplitPattern {
  gpt2,    ///< GPT-2's, also that of ByteLevel with use_regex
  llama3,  ///< cl100k's as Llama-3 writes it: numbers of up to three digits
  qwen2,   ///< the same with single digits
};

/// The scanner for a regular expression; none for one that is not known to the letter.
std::optional<SplitPattern> known_split_pattern(std::string_view expression);
/// The expression a scanner stands for.
std::string_view expression_of(SplitPattern pattern);

/// The known patterns take text piece by piece from the left; the pieces are all of the text. Text is well-formed
/// UTF-8.
class SplitScanner {
 public:
  SplitScanner(SplitPattern pattern, const UnicodeTable& table) : pattern_(pattern), table_(&table) {}

  /// Where the piece that begins at `at` ends; at < end.
  const char* piece_end(const char* at, const char* end) const {
    return pattern_ == SplitPattern::gpt2 ? gpt2_end(at, end)
                                          : llama3_end(at, end, pattern_ == SplitPattern::llama3 ? 3 : 1);
  }

 private:
  static constexpr std::uint8_t letter = UnicodeTable::letter, number = UnicodeTable::number;
  static constexpr std::uint8_t space = UnicodeTable::space, named = letter | number | space;

  struct Character {
    std::uint8_t kind;  // letter, number, space, or 0: another
    std::uint32_t bytes;
  };
  Character at_place(const char* at) const {
    const CodePoint point = code_point_at(at);
    return {static_cast<std::uint8_t>((*table_)[point.value] & named), point.bytes};
  }
  const char* run_end(const char* at, const char* end, std::uint8_t kind) const {
    while (at < end) {
      const Character next = at_place(at);
      if (next.kind != kind) break;
      at += next.bytes;
    }
    return at;
  }
  const char* gpt2_end(const char* at, const char* end) const;
  const char* llama3_end(const char* at, const char* end, int digits) const;
  const char* spaces_end(const char* at, const char* end, bool lines) const;

  SplitPattern pattern_;
  const UnicodeTable* table_;
};

/// 's 't 're 've 'm 'll 'd: the bytes of one at `at`, which is an apostrophe; 0 for none. `any_case` knows U+017F as an
/// s.
inline std::uint32_t contraction_bytes(const char* at, const char* end, bool any_case) {
  const auto letter = [&](int i) {
    const char byte = at + i < end ? at[i] : '\0';
    return any_case && byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  };
  const char first = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = letter(2);
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
  return any_case && first == '\xc5' && second == '\xbf' ? 3 : 0;
}

// \s*[\r\n]+|\s+(?!\S)|\s+, the first only with `lines`: `at` is a space.
inline const char* SplitScanner::spaces_end(const char* at, const char* end, bool lines) const {
  const char* last = at;
  const char* lines_end = nullptr;
  const char* next = at;
  while (next < end) {
    const Character here = at_place(next);
    if (here.kind != space) break;
    last = next;
    next += here.bytes;
    if (*last == '\n' || *last == '\r') lines_end = next;
  }
  if (lines && lines_end) return lines_end;
  return next == end || last == at ? next : last;
}

//  's|...| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|...
inline const char* SplitScanner::gpt2_end(const char* at, const char* end) const {
  if (*at == '\'')
    if (const std::uint32_t bytes = contraction_bytes(at, end, false)) return at + bytes;
  const char* first = at;
  Character here = at_place(at);
  if (*at == ' ' && at + 1 < end)
    if (const Character next = at_place(at + 1); next.kind != space) {
      first = at + 1;
      here = next;
    }
  if (here.kind == space) return spaces_end(at, end, false);
  return run_end(first + here.bytes, end, here.kind);
}

// (?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|...
inline const char* SplitScanner::llama3_end(const char* at, const char* end, int digits) const {
  if (*at == '\'')
    if (const std::uint32_t bytes = contraction_bytes(at, end, true)) return at + bytes;
  const Character here = at_place(at);
  const char* next = at + here.bytes;
  if (here.kind == letter) return run_end(next, end, letter);
  if (here.kind == number) {
    for (int taken = 1; taken < digits && next < end; ++taken) {
      const Character digit = at_place(next);
      if (digit.kind != number) break;
      next += digit.bytes;
    }
    return next;
  }
  const Character after = next < end ? at_place(next) : Character{space, 0};
  if (after.kind == letter && *at != '\r' && *at != '\n') return run_end(next + after.bytes, end, letter);
  const bool space_before_other = *at == ' ' && next < end && after.kind == 0;
  if (here.kind == 0 || space_before_other) {
    next = run_end(next, end, 0);
    while (next < end && (*next == '\r' || *next == '\n')) ++next;
    return next;
  }
  return spaces_end(at, end, true);
}

}  // namespace penstock
