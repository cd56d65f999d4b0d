// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text to ids and ids to text, by a tokenizer.json or a SentencePiece model.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.hpp"
#include "tokenizer/utf8.hpp"

namespace penstock {

class ByteLevelTokenizer;
class SentencePieceModel;

enum class SpecialTokens { keep, leave_out };

/// What is lost when a text becomes ids.
struct TextLosses {
  std::size_t broken_parts = 0;         ///< of UTF-8: each maximal one is taken as U+FFFD
  std::size_t bytes_without_token = 0;  ///< left out, as in tokenizers: a few vocabularies lack some bytes
  void add(const TextLosses& more) {
    broken_parts += more.broken_parts;
    bytes_without_token += more.bytes_without_token;
  }
};

/// Never changes once it is loaded; copies share it, and so may threads, each with a scratch of its own.
class Tokenizer {
 public:
  /// A tokenizer.json, a SentencePiece model, or a folder that holds one (tokenizer.json first). Throws InputError for
  /// what is missing, damaged, or not understood in full.
  static Tokenizer load(const std::filesystem::path& file_or_folder);

  /// The file that was read.
  const std::filesystem::path& path() const { return path_; }
  /// FNV-1a (64 bits) of that file's bytes.
  std::uint64_t digest() const { return digest_; }
  /// One above the largest id.
  std::size_t vocabulary() const;
  /// The token that ends a text: of a SentencePiece model its own; of a tokenizer.json the `eos_token` of a
  /// tokenizer_config.json next to it, else <|endoftext|>, <|end_of_text|> or </s>, where just one of them is a special
  /// token. None: it cannot be told. Throws InputError where tokenizer_config.json is damaged or names no token.
  std::optional<TokenId> end_of_text() const;

  /// Appends the ids of a text, with no token that its post-processor would add around it. Added tokens are found in
  /// the text, as in Hugging Face's libraries. Any bytes will do.
  /// `goes_on`: the text is the right side of a cut (find_cut).
  TextLosses encode(std::string_view text, bool goes_on, std::vector<TokenId>& ids, EncoderScratch& scratch) const;
  std::vector<TokenId> encode(std::string_view text) const;

  /// The first place at or after `from` where a text can be cut so that its ids are those of both sides, joined. None:
  /// there is none in these bytes; `complete` says that no bytes follow. With more bytes, the search can go on
  /// look_ahead bytes before their end.
  std::optional<std::size_t> find_cut(std::string_view bytes, std::size_t from, bool complete) const;
  static constexpr std::size_t look_ahead = longest_added_token + 8;

  /// What the post-processor adds to a text, in front and at its end.
  std::vector<TokenId> before() const;
  std::vector<TokenId> after() const;

  /// Throws InputError for an id that is no token.
  std::string decode(std::span<const TokenId> ids, SpecialTokens special = SpecialTokens::keep) const;

 private:
  friend class TokenStream;
  Tokenizer() = default;

  std::filesystem::path path_;
  std::uint64_t digest_ = 0;
  std::shared_ptr<const ByteLevelTokenizer> byte_level_;  // one of the two
  std::shared_ptr<const SentencePieceModel> pieces_;
};

/// Decodes ids one by one; what it gives out never ends inside a character.
class TokenStream {
 public:
  explicit TokenStream(Tokenizer tokenizer, SpecialTokens special = SpecialTokens::keep);

  /// The text that is certain now. Throws InputError for an id that is no token.
  std::string add(TokenId id);
  /// The rest, at the end.
  std::string finish() { return text_.finish(); }

 private:
  Tokenizer tokenizer_;
  SpecialTokens special_;
  Utf8Stream text_;
  bool at_start_ = true;
};

}  // namespace penstock
