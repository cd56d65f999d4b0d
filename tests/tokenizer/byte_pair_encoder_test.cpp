// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_pair_encoder.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <chrono>
#include <map>
#include <random>

#include "data/temporary_folder.hpp"

namespace penstock::byte_pair_encoder_test {
namespace {

using Ids = std::vector<TokenId>;

/// Merges of random pairs of what there is so far.
struct MadeUp {
  std::array<TokenId, 256> bytes{};
  std::vector<MergeRule> merges;

  explicit MadeUp(int letters, int count, unsigned seed) {
    std::mt19937 chance(seed);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<TokenId>(i);
    std::vector<TokenId> known;
    for (int i = 0; i < letters; ++i) known.push_back('a' + i);
    std::map<std::pair<TokenId, TokenId>, bool> seen;
    while (static_cast<int>(merges.size()) < count) {
      const TokenId left = known[chance() % known.size()], right = known[chance() % known.size()];
      if (!seen.emplace(std::pair(left, right), true).second) continue;
      merges.push_back({left, right, static_cast<TokenId>(256 + merges.size())});
      known.push_back(merges.back().merged);
    }
  }
};

/// The definition, in quadratic time.
Ids by_definition(const MadeUp& model, const std::string& word) {
  Ids parts;
  for (const char letter : word) parts.push_back(model.bytes[static_cast<unsigned char>(letter)]);
  for (bool merged = true; merged;) {
    merged = false;
    for (const MergeRule& rule : model.merges) {
      for (std::size_t i = 0; i + 1 < parts.size() && !merged; ++i)
        if (parts[i] == rule.left && parts[i + 1] == rule.right) {
          parts[i] = rule.merged;
          parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
          merged = true;
        }
      if (merged) break;
    }
  }
  return parts;
}

TEST(BytePairEncoderTest, MergesAsTheDefinitionSays) {
  std::mt19937 chance(11);
  for (unsigned seed = 0; seed < 8; ++seed) {
    const MadeUp model(2 + static_cast<int>(seed) % 3, 40, seed);
    const BytePairEncoder encoder(model.bytes, model.merges, {});
    EncoderScratch scratch;
    for (const int length : {1, 2, 3, 7, 15, 16, 47, 48, 49, 120}) {
      std::string word;
      for (int i = 0; i < length; ++i) word.push_back(static_cast<char>('a' + chance() % (2 + seed % 3)));
      for (int again = 0; again < 2; ++again) {  // the second time from the cache, where it is short
        Ids ids;
        encoder.append(word, ids, scratch);
        ASSERT_EQ(ids, by_definition(model, word)) << word;
      }
    }
  }
}

TEST(BytePairEncoderTest, WholeWordsComeBeforeMerges) {
  const MadeUp model(3, 5, 1);
  std::vector<std::string> words(600);
  words[599] = "abc";
  words[598] = "abcabcabcabcabcabcabc";
  const BytePairEncoder encoder(model.bytes, model.merges, words);
  EncoderScratch scratch;
  Ids ids;
  encoder.append("abc", ids, scratch);
  encoder.append(words[598], ids, scratch);
  EXPECT_EQ(ids, (Ids{599, 598}));
}

// As the tokenizers library does: what is left of a word without its unknown bytes is merged, and not looked up.
TEST(BytePairEncoderTest, WholeWordsComeBeforeBytesAreLeftOut) {
  MadeUp model(3, 0, 1);
  model.bytes['Q'] = BytePairEncoder::no_token;
  std::vector<std::string> words(303);
  words[300] = "ab";
  words[301] = "aQb";
  words[302] = "Qa";
  const BytePairEncoder encoder(model.bytes, model.merges, words);
  EncoderScratch scratch;
  const auto encoded = [&](std::string_view word) {
    Ids ids;
    encoder.append(word, ids, scratch);
    return ids;
  };
  EXPECT_EQ(encoded("aQb"), Ids{301});
  EXPECT_EQ(encoded("Qa"), Ids{302});
  EXPECT_EQ(encoded("ab"), Ids{300});
  EXPECT_EQ(scratch.bytes_without_token(), 0U);
  EXPECT_EQ(encoded("aQbQ"), (Ids{'a', 'b'}));
  EXPECT_EQ(encoded("Q"), Ids{});
  EXPECT_EQ(scratch.bytes_without_token(), 3U);
}

// Pages that nobody touches take no memory.
TEST(BytePairEncoderTest, AWordOfTwoGibibytesIsRefused) {
  constexpr std::size_t size = BytePairEncoder::longest_word + 1;
  void* const pages = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  const MadeUp model(3, 5, 1);
  const BytePairEncoder encoder(model.bytes, model.merges, {});
  EncoderScratch scratch;
  Ids ids;
  const std::string message = test::input_error([&] {
    encoder.append({static_cast<const char*>(pages), size}, ids, scratch);
  });
  munmap(pages, size);
  EXPECT_NE(message.find("a word of 2147483648 bytes, and a word has at most 2147483647"), std::string::npos)
      << message;
  EXPECT_TRUE(ids.empty());
}

// A quadratic loop would take hours; the bound is one that any machine keeps.
TEST(BytePairEncoderTest, ARunWithoutSpacesTakesNoQuadraticTime) {
  const MadeUp model(4, 200, 3);
  const BytePairEncoder encoder(model.bytes, model.merges, {});
  EncoderScratch scratch;
  std::mt19937 chance(1);
  std::string word;
  for (int i = 0; i < 1'000'000; ++i) word.push_back(static_cast<char>('a' + chance() % 4));
  const auto start = std::chrono::steady_clock::now();
  Ids ids;
  encoder.append(word, ids, scratch);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(100));
  EXPECT_LT(ids.size(), word.size());
}

}  // namespace
}  // namespace penstock::byte_pair_encoder_test
