// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/utf8.hpp"

#include <gtest/gtest.h>

#include <random>

namespace penstock::utf8_test {
namespace {

const std::string r(replacement_character);

// What Python's bytes.decode("utf-8", "replace") gives.
TEST(Utf8Test, EachMaximalBrokenPartBecomesOneReplacement) {
  const std::pair<std::string, std::string> cases[] = {
      {"plain ascii text", "plain ascii text"},
      {"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x99\x82", "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x99\x82"},
      {"\x80", r},
      {"\xc0\xaf", r + r},
      {"\xe0\x80\x80", r + r + r},
      {"\xed\xa0\x80", r + r + r},  // a surrogate
      {"\xf4\x90\x80\x80", r + r + r + r},
      {"\xf5\x80", r + r},
      {"\xe4\xb8", r},
      {"\xe4\xb8z", r + "z"},
      {"\xf0\x9f\x99", r},
      {"\xf0\x9f\x99\xe4\xb8\xad", r + "\xe4\xb8\xad"},
      {"\xf0\x9f\xc3\xa9", r + "\xc3\xa9"},
      {"\xff\xfe", r + r},
  };
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(repaired(bytes).text, text);
    EXPECT_EQ(first_broken_byte(repaired(bytes).text), text.size());
  }
  EXPECT_EQ(repaired("a\xff\xfe").broken_parts, 2U);
}

TEST(Utf8Test, PartsOfAStreamJoinToTheWhole) {
  std::mt19937 chance(3);
  const std::string some = "a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x99\x82\xff\xe4\xf0\x9f\x80";
  for (int round = 0; round < 5000; ++round) {
    std::string bytes;
    for (int i = 0; i < 12; ++i) bytes.push_back(some[chance() % some.size()]);
    Utf8Stream stream;
    std::string joined;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t part = 1 + chance() % 3;
      joined += stream.add(bytes.substr(at, part));
      EXPECT_EQ(first_broken_byte(joined), joined.size());
      at += part;
    }
    joined += stream.finish();
    ASSERT_EQ(joined, repaired(bytes).text);
  }
}

TEST(Utf8Test, CodePointsComeBack) {
  for (const char32_t code : {0x0U, 0x7fU, 0x80U, 0x7ffU, 0x800U, 0xffffU, 0x10000U, 0x10ffffU}) {
    std::string text;
    append_utf8(code, text);
    EXPECT_EQ(code_point_at(text.data()).value, code);
    EXPECT_EQ(code_point_at(text.data()).bytes, text.size());
  }
}

}  // namespace
}  // namespace penstock::utf8_test
