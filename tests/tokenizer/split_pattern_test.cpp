// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/split_pattern.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tokenizer/regular_expression.hpp"

namespace penstock::split_pattern_test {
namespace {

using Pieces = std::vector<std::string>;

Pieces scanned(SplitPattern pattern, const UnicodeTable& table, const std::string& text) {
  const SplitScanner scanner(pattern, table);
  Pieces pieces;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const char* piece_end = scanner.piece_end(at, end);
    pieces.emplace_back(at, piece_end);
    at = piece_end;
  }
  return pieces;
}

Pieces matched(const RegularExpression& expression, const std::string& text) {
  Pieces pieces;
  for (std::size_t at = 0; at < text.size();) {
    const auto match = expression.find(text, at);
    if (!match || match->begin != at || match->end == at) break;
    pieces.push_back(text.substr(at, match->end - at));
    at = match->end;
  }
  return pieces;
}

/// Code points of every kind that a pattern tells apart, known to all versions of Unicode in question.
std::string random_text(std::mt19937& chance, int length) {
  static const std::u32string kinds =
      U"aZzsStTmMdDlLrReEvV'''   \n\n\r\t\u00a0\u3000\u2028_.,!-/*19\u0663\u00bd\u2167\u00e9\u017f\u4e2d"
      U"\u0301\u0627\u05d0\U0001f642\u200d\u0000\u0085\u00aa\u0e01\u1112\U00020000";
  std::string text;
  for (int i = 0; i < length; ++i) append_utf8(kinds[chance() % kinds.size()], text);
  return text;
}

TEST(SplitPatternTest, ScannersCutAsTheirExpressionsDo) {
  const UnicodeTable table;
  std::mt19937 chance(5);
  for (const SplitPattern pattern : {SplitPattern::gpt2, SplitPattern::llama3, SplitPattern::qwen2}) {
    const RegularExpression expression(expression_of(pattern), "pattern");
    for (int round = 0; round < 20000; ++round) {
      const std::string text = random_text(chance, 1 + static_cast<int>(chance() % 12));
      ASSERT_EQ(scanned(pattern, table, text), matched(expression, text)) << expression_of(pattern) << "\n" << text;
    }
  }
}

// What Unicode 14 does not know is none of the letters and numbers of PCRE2.
TEST(SplitPatternTest, TheTableKnowsTheLettersOfPcre2AndNewerOnes) {
  const UnicodeTable table;
  const RegularExpression letter("\\p{L}", "pattern"), number("\\p{N}", "pattern"), space("\\s", "pattern");
  int differ = 0;
  for (char32_t code = 1; code < UnicodeTable::code_points; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;
    std::string text;
    append_utf8(code, text);
    const auto agrees = [&](const RegularExpression& expression, std::uint8_t property) {
      const bool theirs = expression.find(text, 0).has_value(), ours = (table[code] & property) != 0;
      if (ours && !theirs) ++differ;
      return ours || !theirs;
    };
    ASSERT_TRUE(agrees(letter, UnicodeTable::letter) && agrees(number, UnicodeTable::number) &&
                agrees(space, UnicodeTable::space))
        << std::hex << static_cast<std::uint32_t>(code);
  }
  EXPECT_LT(differ, 20000);
}

TEST(SplitPatternTest, OnlyTheSamePatternIsKnown) {
  EXPECT_EQ(known_split_pattern(expression_of(SplitPattern::qwen2)), SplitPattern::qwen2);
  EXPECT_EQ(known_split_pattern("'s|'t"), std::nullopt);
}

TEST(SplitPatternTest, ALongRunNeedsNoStack) {
  const UnicodeTable table;
  const std::string text(5'000'000, 'a');
  EXPECT_EQ(scanned(SplitPattern::llama3, table, text).size(), 1U);
}

}  // namespace
}  // namespace penstock::split_pattern_test
