// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/nfc.hpp"

#include <gtest/gtest.h>

namespace penstock::nfc_test {
namespace {

TEST(NfcTest, ComposesAndOrders) {
  const UnicodeTable table;
  const std::pair<std::string, std::string> cases[] = {
      {"plain", "plain"},
      {"cafe\u0301 A\u030a", "caf\u00e9 \u00c5"},
      {"\u1112\u1161\u11ab", "\ud55c"},
      {"q\u0307\u0323", "q\u0323\u0307"},
      {"\u212b\u0344", "\u00c5\u0308\u0301"},
      {"\u0301", "\u0301"},
      {"x\u0301\u0301 e\u0301y", "x\u0301\u0301 \u00e9y"},
  };
  for (const auto& [text, normalized] : cases) {
    EXPECT_EQ(nfc(text, table), normalized);
    EXPECT_EQ(is_inert_under_nfc(text, table), text == "plain");
  }
}

// U+1ACB is a mark since Unicode 14; the pinned NFC, and with it tokenizers, takes it for a base.
TEST(NfcTest, MarksThatAreNewerMoveNothing) {
  const UnicodeTable table;
  for (const std::string& text : {std::string("a\u1acb\u0323"), std::string("a\u1acb\u0323\u0301")})
    EXPECT_EQ(nfc(text, table), text);
}

}  // namespace
}  // namespace penstock::nfc_test
