// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tokens that are found in the text itself, before words are cut and merged: <|endoftext|> and its like.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/byte_pair_encoder.hpp"
#include "tokenizer/unicode_table.hpp"

namespace penstock {

inline constexpr std::size_t longest_added_token = 4096;  // bytes

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  ///< no word character may touch it
  bool lstrip = false;       ///< it takes the white space before it
  bool rstrip = false;       ///< and after it
  bool normalized = false;   ///< it is looked for in the normalized text
  bool special = false;      ///< left out of decoded text where that is asked for
};

/// Finds the leftmost, and of those at one place the longest. The table outlives it.
class AddedTokens {
 public:
  AddedTokens(std::vector<AddedToken> tokens, const UnicodeTable& table);

  /// Calls `between(std::string_view)` for text and `found(TokenId)` for tokens, in order. Text is well-formed UTF-8.
  template <typename Between, typename Found>
  void split(std::string_view text, Between&& between, Found&& found) const {
    std::size_t done = 0;
    for (std::size_t at = 0; const AddedToken* token = find(text, at);) {
      const std::size_t begin = at, end = at + token->content.size();
      at = end;
      if (token->single_word && touches_word(text, begin, end)) continue;
      const std::size_t left = token->lstrip ? std::max(spaces_begin(text, begin), done) : begin;
      if (left > done) between(text.substr(done, left - done));
      found(token->id);
      done = token->rstrip ? spaces_end(text, end) : end;
    }
    if (done < text.size()) between(text.substr(done));
  }

  /// Whether a token stands in any bytes so that it holds or touches the place `at`.
  bool any_around(std::string_view bytes, std::size_t at) const;
  std::size_t longest() const { return longest_; }
  bool empty() const { return tokens_.empty(); }

 private:
  /// The first at or after `at`, which becomes its place.
  const AddedToken* find(std::string_view text, std::size_t& at) const;
  const AddedToken* find_here(std::string_view text, std::size_t at) const;
  bool touches_word(std::string_view text, std::size_t begin, std::size_t end) const;
  std::size_t spaces_begin(std::string_view text, std::size_t end) const;
  std::size_t spaces_end(std::string_view text, std::size_t begin) const;

  std::vector<AddedToken> tokens_;            // by first byte, the longest first
  std::vector<std::uint32_t> begin_of_byte_;  // [257]: the tokens that begin with a byte
  std::vector<bool> begins_with_;             // [first * 256 + second]; a token of one byte begins with all seconds
  std::size_t longest_ = 0;
  const UnicodeTable* table_;
};

}  // namespace penstock
