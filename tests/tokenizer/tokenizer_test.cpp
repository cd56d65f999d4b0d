// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/tokenizer.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "data/temporary_folder.hpp"
#include "tokenizer/samples.hpp"

namespace penstock::tokenizer_test {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<TokenId>;

Tokenizer from_json(const test::TemporaryFolder& folder, const nlohmann::json& json) {
  test::write_file(folder / "tokenizer.json", json.dump());
  return Tokenizer::load(folder.path());
}

TEST(TokenizerTest, DecodesAsTokenizersDoes) {
  test::TemporaryFolder folder;
  for (const auto& variant : test::sample_json("golden.json")) {
    const Tokenizer tokenizer = from_json(folder, test::variant_of_small(variant));
    for (const auto& example : variant["cases"])
      EXPECT_EQ(tokenizer.decode(example["ids"].get<Ids>()),
                example.value("decoded", example["text"].get<std::string>()))
          << variant["name"];
  }
}

TEST(TokenizerTest, SentencePieceModelsGiveTheLibrarysIdsAndTexts) {
  for (const std::string name : {"bpe", "unigram"}) {
    const Tokenizer tokenizer = Tokenizer::load(test::sample_path(name + ".model"));
    for (const auto& example : test::sample_json(name + ".golden.json")) {
      const auto ids = example["ids"].get<Ids>();
      if (example.contains("text")) {
        EXPECT_EQ(tokenizer.encode(example["text"].get<std::string>()), ids) << name;
      }
      EXPECT_EQ(tokenizer.decode(ids), example["decoded"].get<std::string>()) << name << example["ids"];
    }
  }
}

TEST(TokenizerTest, ACutOfASentencePieceTextChangesNoId) {
  std::size_t cuts = 0;
  EncoderScratch scratch;
  for (const std::string name : {"bpe", "unigram"}) {
    const Tokenizer tokenizer = Tokenizer::load(test::sample_path(name + ".model"));
    for (const auto& example : test::sample_json(name + ".golden.json")) {
      if (!example.contains("text") || example["text"].get<std::string>().size() > 5000) continue;
      const auto text = example["text"].get<std::string>();
      for (std::size_t from = 1; from < text.size(); ++from) {
        const auto cut = tokenizer.find_cut(text, from, true);
        if (!cut) break;
        from = *cut;
        Ids both;
        tokenizer.encode(text.substr(0, *cut), false, both, scratch);
        tokenizer.encode(text.substr(*cut), true, both, scratch);
        EXPECT_EQ(both, example["ids"].get<Ids>()) << name << ": " << text << " at " << *cut;
        ++cuts;
      }
    }
  }
  EXPECT_GE(cuts, 50U);
}

// Protocol buffers join a message that comes twice: field 3 is the normalizer, its fields 3 and 4 are
// add_dummy_prefix and remove_extra_whitespaces.
TEST(TokenizerTest, ATextWhoseFirstSpaceTheLibraryStripsIsNotCut) {
  test::TemporaryFolder folder;
  const auto with = [&](char adds_prefix, char strips) {
    const char options[] = {0x1a, 4, 3 << 3, adds_prefix, 4 << 3, strips};
    test::write_file(folder / "tokenizer.model", test::sample_text("bpe.model") + std::string(options, sizeof options));
    return Tokenizer::load(folder.path());
  };
  const std::string text = "the river falls";
  for (const auto& [adds_prefix, strips] : {std::pair<char, char>{0, 0}, {0, 1}, {1, 0}, {1, 1}}) {
    const Tokenizer tokenizer = with(adds_prefix, strips);
    Ids parts;
    EncoderScratch scratch;
    tokenizer.encode(text.substr(0, 3), false, parts, scratch);
    tokenizer.encode(text.substr(3), true, parts, scratch);
    const bool cut_is_right = parts == tokenizer.encode(text);
    EXPECT_EQ(cut_is_right, adds_prefix == 1 || strips == 0);
    EXPECT_EQ(tokenizer.find_cut(text, 1, true).has_value(), cut_is_right);
  }
}

TEST(TokenizerTest, BrokenUtf8IsCounted) {
  test::TemporaryFolder folder;
  const Tokenizer tokenizer = from_json(folder, test::sample_json("small.json"));
  EncoderScratch scratch;
  Ids ids;
  const TextLosses losses = tokenizer.encode(
      "a\xff"
      "b\xe4\xb8"
      "c",
      false, ids, scratch);
  EXPECT_EQ(losses.broken_parts, 2U);
  EXPECT_EQ(tokenizer.decode(ids),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd"
            "c");
}

TEST(TokenizerTest, AStreamGivesOutWholeCharacters) {
  test::TemporaryFolder folder;
  const Tokenizer tokenizer = from_json(folder, test::sample_json("small.json"));
  const std::string text = "Größe 🙂 \xe6\xb0\xb4 e\xcc\x81 end\xf0\x9f";
  TokenStream stream(tokenizer);
  std::string joined;
  Ids ids = tokenizer.encode("Größe 🙂 \xe6\xb0\xb4 e\xcc\x81 end");
  for (const unsigned char byte : {0xf0, 0x9f}) {  // half a character at the end
    std::string name;
    for (char32_t character = 0; character < 512 && name.empty(); ++character)
      if (byte == 0xf0 ? character == 0xf0 : character == 0x13d) append_utf8(character, name);
    ids.push_back(test::sample_json("small.json")["model"]["vocab"][name].get<TokenId>());
  }
  for (const TokenId id : ids) {
    const std::string part = stream.add(id);
    EXPECT_EQ(first_broken_byte(part), part.size());
    joined += part;
  }
  EXPECT_EQ(joined, "Größe 🙂 \xe6\xb0\xb4 e\xcc\x81 end");
  EXPECT_EQ(stream.finish(), replacement_character);
}

TEST(TokenizerTest, IdsOfNoTokenAreRefused) {
  const Tokenizer tokenizer = Tokenizer::load(test::sample_path("bpe.model"));
  for (const TokenId id : {-1, static_cast<TokenId>(tokenizer.vocabulary())})
    EXPECT_NE(test::input_error([&] { tokenizer.decode(Ids{id}); }).find(fmt::format("no token {}", id)),
              std::string::npos);
}

TEST(TokenizerTest, SpecialTokensCanBeLeftOut) {
  test::TemporaryFolder folder;
  for (const auto& variant : test::sample_json("golden.json")) {
    if (variant["name"] != "added") continue;
    const Tokenizer tokenizer = from_json(folder, test::variant_of_small(variant));
    const Ids ids = tokenizer.encode("one<|end|>two");
    EXPECT_EQ(tokenizer.decode(ids), "one<|end|>two");
    EXPECT_EQ(tokenizer.decode(ids, SpecialTokens::leave_out), "onetwo");
  }
}

TEST(TokenizerTest, WhatIsNoTokenizerIsRefused) {
  test::TemporaryFolder folder;
  const auto refused = [&](const fs::path& path, const std::string& part) {
    const std::string message = test::input_error([&] { Tokenizer::load(path); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refused(folder / "nowhere", "does not exist");
  refused(folder.path(), "holds no tokenizer.json and no tokenizer.model");
  test::write_file(folder / "vocab.json", "{}");
  test::write_file(folder / "merges.txt", "#version");
  refused(folder.path(), "vocab.json and merges.txt");
  test::write_file(folder / "empty", "");
  refused(folder / "empty", "is empty");
  test::write_file(folder / "text", "IQ== 0\nIg== 1\n");
  refused(folder / "text", "is no SentencePiece model");
  test::write_file(folder / "array.json", "[1]");
  refused(folder / "array.json", "must be a JSON object");
  test::write_file(folder / "cut.json", "\xef\xbb\xbf{\"model\"");
  refused(folder / "cut.json", "JSON");
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  refused(folder / "pipe", "is a pipe or a device");
  const std::string model = test::sample_text("bpe.model");
  test::write_file(folder / "tokenizer.model", model.substr(0, model.size() / 2));
  refused(folder.path(), "tokenizer.model");
}

}  // namespace
}  // namespace penstock::tokenizer_test
