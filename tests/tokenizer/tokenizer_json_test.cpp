// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/tokenizer_json.hpp"

#include <gtest/gtest.h>

#include "data/temporary_folder.hpp"
#include "tokenizer/samples.hpp"

namespace penstock::tokenizer_json_test {
namespace {

using Json = nlohmann::json;

TokenizerJson parsed(const Json& json) { return parse_tokenizer_json(json.dump(), "t.json"); }

Json added(int id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

Json template_of(const Json& single) {
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", Json::array()},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {3}}, {"tokens", {"<s>"}}}}}}};
}
const Json template_text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
const Json template_special = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};

Json split_by(const Json& pattern, const std::string& behavior = "Isolated", bool invert = false) {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}},
            {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}}}};
}

struct Damage {
  std::string name;
  void (*change)(Json& json);
  std::vector<std::string> says;
};

const std::vector<Damage> damages = {
    {"unknown key", [](Json& j) { j["extra"] = 1; }, {"the file has \"extra\" = 1", "not known"}},
    {"no model", [](Json& j) { j.erase("model"); }, {"has no \"model\""}},
    {"no pre-tokenizer", [](Json& j) { j.erase("pre_tokenizer"); }, {"has no \"pre_tokenizer\""}},
    {"null pre-tokenizer", [](Json& j) { j["pre_tokenizer"] = nullptr; }, {"pre_tokenizer is missing"}},
    {"version", [](Json& j) { j["version"] = "2.0"; }, {"version is \"2.0\""}},
    {"truncation",
     [](Json& j) {
       j["truncation"] = {{"max_length", 512}};
     },
     {"truncation is an object"}},
    {"padding",
     [](Json& j) {
       j["padding"] = {{"strategy", "BatchLongest"}};
     },
     {"padding is an object"}},
    {"unigram", [](Json& j) { j["model"]["type"] = "Unigram"; }, {"model.type is \"Unigram\""}},
    {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, {"model.dropout is 0.1"}},
    {"prefix of parts", [](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; }, {"continuing_subword_prefix"}},
    {"suffix of words", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, {"end_of_word_suffix"}},
    {"byte fallback", [](Json& j) { j["model"]["byte_fallback"] = true; }, {"model.byte_fallback is true"}},
    {"unknown key of the model", [](Json& j) { j["model"]["speed"] = 2; }, {"model has \"speed\" = 2"}},
    {"empty vocabulary", [](Json& j) { j["model"]["vocab"] = Json::object(); }, {"model.vocab is empty"}},
    {"vocabulary is a list", [](Json& j) { j["model"]["vocab"] = {1}; }, {"model.vocab is a list of 1"}},
    {"id is no number", [](Json& j) { j["model"]["vocab"]["a"] = "1"; }, {"model.vocab[\"a\"] is \"1\""}},
    {"negative id", [](Json& j) { j["model"]["vocab"]["a"] = -1; }, {"model.vocab[\"a\"] is -1"}},
    {"huge id", [](Json& j) { j["model"]["vocab"]["a"] = 99999999999; }, {"is 99999999999", "4194303"}},
    {"fraction as id", [](Json& j) { j["model"]["vocab"]["a"] = 1.5; }, {"is 1.5"}},
    {"two tokens of one id", [](Json& j) { j["model"]["vocab"]["zz"] = 3; }, {"has the id 3 of"}},
    {"token without text", [](Json& j) { j["model"]["vocab"][""] = 9999; }, {"a token without text"}},
    {"no merges", [](Json& j) { j["model"].erase("merges"); }, {"model has no \"merges\""}},
    {"merge of one", [](Json& j) { j["model"]["merges"][3] = "ab"; }, {"model.merges[3] is \"ab\""}},
    {"merge of three",
     [](Json& j) {
       j["model"]["merges"][3] = {"a", "b", "c"};
     },
     {"model.merges[3] is a list of 3"}},
    {"merge of three words", [](Json& j) { j["model"]["merges"][3] = "a b c"; }, {"model.merges[3] is \"a b c\""}},
    {"merge of an unknown token",
     [](Json& j) {
       j["model"]["merges"][3] = {"a", "nowhere"};
     },
     {"model.merges[3] names the token \"nowhere\", which model.vocab lacks"}},
    {"merge makes an unknown token",
     [](Json& j) {
       j["model"]["merges"][3] = {"Z", "Z"};
     },
     {"the token \"ZZ\""}},
    {"merge twice", [](Json& j) { j["model"]["merges"][3] = j["model"]["merges"][2]; }, {"merges[3]", "a second time"}},
    {"unknown unknown", [](Json& j) { j["model"]["unk_token"] = "<unk>"; }, {"names the token \"<unk>\""}},
    {"flag is a number", [](Json& j) { j["model"]["ignore_merges"] = 1; }, {"model.ignore_merges is 1"}},
    {"added without flags",
     [](Json& j) {
       j["added_tokens"] = {{{"id", 5}, {"content", "x"}}};
     },
     {"added_tokens[0] has no"}},
    {"added with another id", [](Json& j) { j["added_tokens"] = {added(9, "a")}; }, {"added_tokens[0].id is 9"}},
    {"added with a gap", [](Json& j) { j["added_tokens"] = {added(9999, "<x>")}; }, {"would number \"<x>\""}},
    {"added without text", [](Json& j) { j["added_tokens"] = {added(9, "")}; }, {"content is empty"}},
    {"added twice",
     [](Json& j) {
       j["added_tokens"] = {added(j["model"]["vocab"]["a"], "a"), added(j["model"]["vocab"]["a"], "a")};
     },
     {"added_tokens[1].content comes a second time"}},
    {"added twice but for NFC",
     [](Json& j) {
       const auto next = j["model"]["vocab"].size();
       Json joined = added(static_cast<int>(next), "\u1e31"), apart = added(static_cast<int>(next) + 1, "k\u0301");
       joined["normalized"] = apart["normalized"] = true;
       j["added_tokens"] = {joined, apart};
       j["normalizer"] = {{"type", "NFC"}};
     },
     {"added_tokens[1].content is \"k\u0301\"", "NFC makes equal to added_tokens[0]"}},
    {"added and long",
     [](Json& j) { j["added_tokens"] = {added(9, std::string(5000, 'x'))}; },
     {"has 5000 bytes", "at most 4096"}},
    {"normalizer",
     [](Json& j) {
       j["normalizer"] = {{"type", "NFKC"}};
     },
     {"normalizer is NFKC"}},
    {"normalizer in a list",
     [](Json& j) {
       j["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}};
     },
     {"normalizer.normalizers[1] is Lowercase"}},
    {"pre-tokenizer",
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "Metaspace"}};
     },
     {"pre_tokenizer is Metaspace"}},
    {"no byte level",
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "Digits"}};
     },
     {"does not end with ByteLevel"}},
    {"prefix space", [](Json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; }, {"add_prefix_space is true"}},
    {"split kind",
     [](Json& j) {
       j["pre_tokenizer"] = split_by({{"Glob", "*"}});
     },
     {"is a Glob"}},
    {"split behavior",
     [](Json& j) {
       j["pre_tokenizer"] = split_by({{"Regex", "a"}}, "MergedWithNext");
     },
     {"MergedWithNext"}},
    {"split that loses text",
     [](Json& j) {
       j["pre_tokenizer"] = split_by({{"Regex", "[a-z]+"}}, "Removed", true);
     },
     {"\"Removed\" with invert = true"}},
    {"no regular expression",
     [](Json& j) {
       j["pre_tokenizer"] = split_by({{"Regex", "(a"}});
     },
     {"no regular expression", "(a"}},
    {"another dialect",
     [](Json& j) {
       j["pre_tokenizer"] = split_by({{"Regex", "\\w+$"}});
     },
     {"holds \\w"}},
    {"two dialects",
     [](Json& j) {
       j["pre_tokenizer"] = split_by({{"Regex", "[a-z&&[^b]]"}});
     },
     {"&& in a class"}},
    {"post-processor",
     [](Json& j) {
       j["post_processor"] = {{"type", "BertProcessing"}};
     },
     {"post_processor is BertProcessing"}},
    {"template of two texts",
     [](Json& j) {
       j["post_processor"] = template_of({template_text, template_text});
     },
     {"single[1] is a second text"}},
    {"template without a text",
     [](Json& j) { j["post_processor"] = template_of(Json::array({template_special})); },
     {"without the text"}},
    {"decoder",
     [](Json& j) {
       j["decoder"] = {{"type", "WordPiece"}};
     },
     {"decoder is WordPiece"}},
    {"no decoder", [](Json& j) { j["decoder"] = nullptr; }, {"decoder is missing"}},
};

TEST(TokenizerJsonTest, DamagedFilesAreRefusedByName) {
  EXPECT_GE(damages.size(), 50U);
  for (const Damage& damage : damages) {
    Json json = test::sample_json("small.json");
    damage.change(json);
    const std::string message = test::input_error([&] { parsed(json); });
    EXPECT_TRUE(message.starts_with("t.json: ")) << damage.name << ": " << message;
    EXPECT_NE(message.find("; "), std::string::npos) << damage.name << " says no cure: " << message;
    for (const std::string& part : damage.says)
      EXPECT_NE(message.find(part), std::string::npos) << damage.name << ": " << message;
  }
}

TEST(TokenizerJsonTest, WhatIsNoJsonIsRefused) {
  const std::string text = test::sample_text("small.json");
  for (const std::string& damaged : {std::string(), std::string("[]"), text.substr(0, text.size() / 2), text + "x",
                                     std::string("{\"model\": {}, \"model\": {}}"), std::string("{\"a\": \"\xff\"}")})
    EXPECT_TRUE(test::input_error([&] { parse_tokenizer_json(damaged, "t.json"); }).starts_with("t.json: "));
}

TEST(TokenizerJsonTest, TemplatesAddTokensAroundAText) {
  Json json = test::sample_json("small.json");
  json["post_processor"] = {{"type", "Sequence"},
                            {"processors",
                             {{{"type", "ByteLevel"}, {"trim_offsets", true}},
                              template_of({template_special, template_text, template_special})}}};
  const TokenizerJson read = parsed(json);
  EXPECT_EQ(read.before, std::vector<TokenId>{3});
  EXPECT_EQ(read.after, std::vector<TokenId>{3});
}

TEST(TokenizerJsonTest, EveryByteHasACharacter) {
  int found = 0;
  for (char32_t character = 0; character < 1000; ++character)
    if (byte_of_character(character) >= 0) ++found;
  EXPECT_EQ(found, 256);
  EXPECT_EQ(bytes_of_token("\xc4\xa0river"), " river");
  EXPECT_EQ(bytes_of_token("two words"), "two words");
}

}  // namespace
}  // namespace penstock::tokenizer_json_test
