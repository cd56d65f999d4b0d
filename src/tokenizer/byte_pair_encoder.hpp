// SPDX-License-Identifier: Apache-2.0
#pragma once
// Byte-pair encoding of one word: of all neighbours that may merge, the pair of the lowest rank merges first, and of
// equal ranks the leftmost, until no pair may merge (Sennrich, Haddow, Birch, 2016: "Neural Machine Translation of Rare
// Words with Subword Units").

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

using TokenId = std::int32_t;

/// The pair (left, right) becomes `merged`; its rank is its place in the list.
struct MergeRule {
  TokenId left;
  TokenId right;
  TokenId merged;
};

/// What one thread keeps while it encodes: words it has seen, and room to work.
class EncoderScratch {
 public:
  EncoderScratch() : words_(std::size_t{1} << cache_bits) {}

  /// Bytes that have no token and were left out, so far.
  std::uint64_t bytes_without_token() const { return bytes_without_token_; }

 private:
  friend class BytePairEncoder;

  static constexpr unsigned cache_bits = 15;
  static constexpr std::size_t longest_cached = 15;  // bytes
  static constexpr std::size_t most_cached = 7;      // tokens

  struct WordKey {
    std::uint64_t low = 0, high = 0;  // the bytes of the word, and in the last one its length
    bool operator==(const WordKey&) const = default;
  };
  struct CachedWord {
    WordKey word;  // no word has a length of 0
    std::uint32_t count = 0;
    std::array<TokenId, most_cached> tokens = {};
  };
  struct Symbol {
    TokenId token;
    std::int32_t before, after;  // symbols; -1: none
  };
  struct Candidate {
    std::uint32_t rank;
    std::int32_t place;  // of the left symbol
    TokenId left, right, merged;
  };

  std::uint64_t bytes_without_token_ = 0;
  std::vector<CachedWord> words_;  // each word has one possible place; the last word stored there replaces the others
  std::vector<Symbol> symbols_;
  std::vector<Candidate> queue_;
};

/// A value that never changes; threads share it, each with a scratch of its own.
class BytePairEncoder {
 public:
  /// `bytes`: the token of each byte, or no_token. `whole_words`: words that become one token regardless of the merges
  /// (ignore_merges); [i] the bytes of token i, empty for none.
  BytePairEncoder(const std::array<TokenId, 256>& bytes, std::span<const MergeRule> merges,
                  std::span<const std::string> whole_words);

  static constexpr TokenId no_token = -1;
  static constexpr std::size_t longest_word =
      std::numeric_limits<std::int32_t>::max();  // bytes: places are 32 bits wide

  /// Appends the tokens of a word, which is not empty. A byte without a token is left out, as in tokenizers, and
  /// counted in the scratch. Throws InputError for a word of more than `longest_word` bytes.
  void append(std::string_view word, std::vector<TokenId>& tokens, EncoderScratch& scratch) const;

 private:
  struct Pair {
    std::uint64_t key = none;  // left << 32 | right
    std::uint32_t rank = 0;
    TokenId merged = 0;
    static constexpr std::uint64_t none = ~std::uint64_t{0};
  };
  struct WholeWord {
    std::uint32_t begin = 0, bytes = 0;  // in text_; 0 bytes: a free place
    TokenId token = 0;
  };

  const Pair* find(TokenId left, TokenId right) const;
  const WholeWord* find_whole(std::string_view word) const;
  void append_word(std::string_view word, std::vector<TokenId>& tokens, EncoderScratch& scratch) const;
  void append_merged(std::string_view word, std::vector<TokenId>& tokens, EncoderScratch& scratch) const;
  void append_short(std::string_view word, std::vector<TokenId>& tokens) const;
  std::string without_unknown(std::string_view word) const;
  void append_long(std::string_view word, std::vector<TokenId>& tokens, EncoderScratch& scratch) const;
  void propose(std::int32_t place, EncoderScratch& scratch) const;

  std::array<TokenId, 256> bytes_;
  bool knows_all_bytes_;
  std::vector<Pair> pairs_;  // open addressing; a power of two, at most half full
  unsigned pair_shift_;
  std::string text_;
  std::vector<WholeWord> whole_words_;
  unsigned whole_shift_ = 0;
};

}  // namespace penstock
