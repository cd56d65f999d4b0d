// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_level_tokenizer.hpp"

#include <gtest/gtest.h>

#include "tokenizer/samples.hpp"

namespace penstock::byte_level_tokenizer_test {
namespace {

using Ids = std::vector<TokenId>;

ByteLevelTokenizer made(const nlohmann::json& json) {
  return ByteLevelTokenizer(parse_tokenizer_json(json.dump(), "tokenizer.json"));
}

Ids encoded(const ByteLevelTokenizer& tokenizer, std::string_view text) {
  Ids ids;
  EncoderScratch scratch;
  tokenizer.encode(text, ids, scratch);
  return ids;
}

TEST(ByteLevelTokenizerTest, IdsAreThoseOfTokenizers) {
  std::size_t compared = 0;
  for (const auto& variant : test::sample_json("golden.json")) {
    const ByteLevelTokenizer tokenizer = made(test::variant_of_small(variant));
    for (const auto& example : variant["cases"]) {
      EXPECT_EQ(encoded(tokenizer, example["text"].get<std::string>()), example["ids"].get<Ids>())
          << variant["name"] << ": " << example["text"];
      ++compared;
    }
  }
  EXPECT_GE(compared, 100U);
}

TEST(ByteLevelTokenizerTest, MergesArePairsOrTexts) {
  nlohmann::json json = test::sample_json("small.json");
  const ByteLevelTokenizer pairs = made(json);
  for (auto& merge : json["model"]["merges"])
    if (merge.is_array()) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  const ByteLevelTokenizer texts = made(json);
  const std::string text = "The river falls through the gates; Größe, Вода.";
  EXPECT_EQ(encoded(texts, text), encoded(pairs, text));
  EXPECT_LT(encoded(texts, text).size(), text.size() / 2);
}

// Wherever a cut is found, and only at letters' ends, both sides have the ids of the whole.
TEST(ByteLevelTokenizerTest, ACutChangesNoId) {
  std::size_t cuts = 0;
  for (const auto& variant : test::sample_json("golden.json")) {
    const ByteLevelTokenizer tokenizer = made(test::variant_of_small(variant));
    for (const auto& example : variant["cases"]) {
      const auto text = example["text"].get<std::string>();
      for (std::size_t from = 0; from < text.size(); ++from) {
        const auto cut = tokenizer.find_cut(text, from, true);
        if (!cut) break;
        from = *cut;
        Ids both = encoded(tokenizer, text.substr(0, *cut));
        const Ids right = encoded(tokenizer, text.substr(*cut));
        both.insert(both.end(), right.begin(), right.end());
        EXPECT_EQ(both, example["ids"].get<Ids>()) << variant["name"] << ": " << text << " at " << *cut;
        ++cuts;
      }
    }
  }
  EXPECT_GE(cuts, 400U);
}

TEST(ByteLevelTokenizerTest, ACutIsOnlyCertainWhereNoAddedTokenCanBegin) {
  nlohmann::json json = test::sample_json("small.json");
  json["added_tokens"].push_back({{"id", json["model"]["vocab"].size()},
                                  {"content", "ab.cd"},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", true}});
  const ByteLevelTokenizer tokenizer = made(json);
  EXPECT_EQ(tokenizer.find_cut("xx ab.cd yy", 4, true), std::nullopt);
  EXPECT_EQ(tokenizer.find_cut("xx ab.ce yy", 4, true), 5U);
  EXPECT_EQ(tokenizer.find_cut("xx ab.ce yy", 4, false), std::nullopt) << "more may come";
  EXPECT_EQ(tokenizer.find_cut("xx ab.ce yy zz zz", 4, false), 5U);
}

TEST(ByteLevelTokenizerTest, NothingIsCutWithPatternsThatAreNotKnown) {
  for (const auto& variant : test::sample_json("golden.json"))
    if (variant["name"] == "other") {
      EXPECT_EQ(made(test::variant_of_small(variant)).find_cut("one two three", 1, true), std::nullopt);
    }
}

TEST(ByteLevelTokenizerTest, BytesWithoutATokenAreLeftOutAndCounted) {
  nlohmann::json json = test::sample_json("small.json");
  json["model"]["vocab"].erase("Q");
  const ByteLevelTokenizer tokenizer = made(json);
  Ids ids;
  EncoderScratch scratch;
  tokenizer.encode("aQbQ Q", ids, scratch);
  EXPECT_EQ(ids, encoded(tokenizer, "ab "));
  EXPECT_EQ(scratch.bytes_without_token(), 3U);
}

}  // namespace
}  // namespace penstock::byte_level_tokenizer_test
