// SPDX-License-Identifier: Apache-2.0
#pragma once
// Byte-level BPE as a tokenizer.json describes it: text to ids, and the bytes of each id.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer_json.hpp"

namespace penstock {

/// Never changes once it is made; threads share it.
class ByteLevelTokenizer {
 public:
  explicit ByteLevelTokenizer(TokenizerJson json);

  /// Appends the ids that tokenizers' `encode(text, add_special_tokens=False)` gives. Text is well-formed UTF-8.
  void encode(std::string_view text, std::vector<TokenId>& ids, EncoderScratch& scratch) const;

  /// The first place at or after `from` where any bytes can be cut so that the ids of both sides are those of the
  /// whole. None: there is none yet; `complete` says that no bytes follow. Bytes need not be well-formed.
  std::optional<std::size_t> find_cut(std::string_view bytes, std::size_t from, bool complete) const;

  /// One above the largest id.
  std::size_t vocabulary() const { return bytes_.size(); }
  /// Null where there is no such token.
  const std::string* bytes_of(TokenId id) const;
  bool is_special(TokenId id) const { return special_[static_cast<std::size_t>(id)]; }
  /// The special token of this text.
  std::optional<TokenId> id_of_special(std::string_view content) const;
  const std::vector<TokenId>& before() const { return before_; }
  const std::vector<TokenId>& after() const { return after_; }

 private:
  void encode_normalized(std::string_view text, std::vector<TokenId>& ids, EncoderScratch& scratch) const;
  bool cuts_at(std::string_view bytes, std::size_t at) const;

  std::unique_ptr<const UnicodeTable> table_;  // others point to it
  bool nfc_;
  bool cuttable_;
  AddedTokens raw_tokens_;         // looked for in the text as it is
  AddedTokens normalized_tokens_;  // and in what the normalizer makes of it
  PreTokenizer pre_tokenizer_;
  BytePairEncoder encoder_;
  std::vector<std::string> bytes_;  // [id]
  std::vector<bool> special_;       // [id]
  std::vector<TokenId> before_, after_;
};

}  // namespace penstock
