// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/regular_expression.hpp"

#include <gtest/gtest.h>

#include "data/temporary_folder.hpp"
#include "tokenizer/split_pattern.hpp"

namespace penstock::regular_expression_test {
namespace {

bool matches(const RegularExpression& expression, char32_t code) {
  std::string text;
  append_utf8(code, text);
  return expression.find(text, 0).has_value();
}

TEST(RegularExpressionTest, WhiteSpaceIsThatOfTheTable) {
  const UnicodeTable table;
  const RegularExpression space(R"(\s)", "p"), in_class(R"([-\s])", "p"), none_in_class(R"([^\s])", "p");
  const RegularExpression other(R"(\S)", "p"), other_in_class(R"([\S-])", "p"), only_spaces(R"([^\S])", "p");
  for (char32_t code = 0; code < UnicodeTable::code_points; ++code) {
    if ((code >= 0xd800 && code < 0xe000) || code == '-') continue;
    const bool is_space = (table[code] & UnicodeTable::space) != 0;
    ASSERT_TRUE(matches(space, code) == is_space && matches(in_class, code) == is_space &&
                matches(only_spaces, code) == is_space && matches(other, code) == !is_space &&
                matches(other_in_class, code) == !is_space && matches(none_in_class, code) == !is_space)
        << std::hex << static_cast<std::uint32_t>(code);
  }
}

TEST(RegularExpressionTest, PatternsInUseAreRead) {
  for (
      const char* expression : {
          // GPT-4's and Llama-3's with and without possessive quantifiers
          R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
          R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
          // GPT-4o's
          R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
          // DeepSeek-V3's
          R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
          R"((?i)'s|a{2}|b{2,}|c{2,3}x|\x{41}|\{,2\}|(?>d+)|e*?)",
      })
    EXPECT_NO_THROW(RegularExpression(expression, "p")) << expression;
  for (const SplitPattern pattern : {SplitPattern::gpt2, SplitPattern::llama3, SplitPattern::qwen2})
    EXPECT_NO_THROW(RegularExpression(expression_of(pattern), "p"));
}

TEST(RegularExpressionTest, WhatTheTwoDialectsReadDifferentlyIsRefusedByName) {
  const std::pair<const char*, const char*> refused[] = {
      {R"(\p{Han}+)", R"(\p{Han})"},
      {R"([\P{Latin}])", R"(\P{Latin})"},
      {R"(\p{Xan})", R"(\p{Xan})"},
      {R"(\p{L&})", R"(\p{L&})"},
      {R"(\p{^Lu})", R"(\p{^Lu})"},
      {R"(\pL)", R"(\p without braces)"},
      {R"(a{1,3}+)", "{1,3}+"},
      {R"(\p{N}{1,3}+)", "{1,3}+"},
      {R"(a{2}?)", "{2}?"},
      {R"(a{2,}?)", "{2,}?"},
      {R"(a{,3})", "{,3}"},
      {R"(a{x})", R"({ that begins no interval)"},
      {R"(a(?i)b|c)", "(?i) after the beginning"},
      {R"((?:(?i)b|c))", "(?i) after the beginning"},
      {R"((?s:.))", "(?s:"},
      {R"((?<=a)b)", "(?<="},
      {R"(\xe4)", R"(\x without braces)"},
      {R"(\bword)", R"(\b)"},
      {R"(\v)", R"(\v)"},
      {R"(^a)", "^"},
      {R"([]a])", "] as a class's first character"},
      {R"([a&&b])", "&& in a class"},
  };
  for (const auto& [expression, name] : refused) {
    const std::string message = test::input_error([&, text = expression] { RegularExpression(text, "file: pattern"); });
    EXPECT_NE(message.find(fmt::format("file: pattern: the pattern holds {}", name)), std::string::npos)
        << expression << ": " << message;
    EXPECT_NE(message.find(expression), std::string::npos) << message;
  }
}

TEST(RegularExpressionTest, AMessageShowsTheExpressionOfTheFile) {
  const std::string message = test::input_error([] { RegularExpression(R"(\s+(a)", "p"); });
  EXPECT_NE(message.find(R"(at byte 5): \s+(a; )"), std::string::npos) << message;
}

TEST(RegularExpressionTest, ALiteralIsNoExpression) {
  const auto match = RegularExpression::literal(R"(\s{,2}+)", "p").find(R"(a\s{,2}+b)", 0);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->begin, 1U);
  EXPECT_EQ(match->end, 8U);
}

}  // namespace
}  // namespace penstock::regular_expression_test
