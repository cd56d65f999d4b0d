// SPDX-License-Identifier: Apache-2.0
#pragma once
// The contents of a Hugging Face tokenizer.json that Penstock understands.

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.hpp"
#include "tokenizer/byte_pair_encoder.hpp"
#include "tokenizer/pre_tokenizer.hpp"

namespace penstock {

/// A byte-level BPE tokenizer, as read.
struct TokenizerJson {
  std::vector<std::string> tokens;  ///< [id]: as in the file, a character a byte (byte_of_character); empty: no such id
  std::vector<MergeRule> merges;    ///< by rank
  std::vector<bool> of_model;       ///< [id]: in model.vocab; the others are only added
  TokenId unknown = -1;             ///< stands for bytes that have no token; -1: they are left out
  bool ignore_merges = false;       ///< a word that is a token is that token
  std::vector<AddedToken> added;
  bool nfc = false;
  std::vector<SplitStage> stages;
  std::vector<TokenId> before, after;  ///< what the post-processor adds around a text
};

/// Throws InputError "<where>: <what>: ...; <cure>" for what is no tokenizer.json, is damaged, or holds anything whose
/// meaning is unknown: a key, a type, a flag. Nothing is ignored.
TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view where);

/// The byte that a character of a byte-level token stands for: GPT-2 moved those that are white space or unprintable in
/// Latin-1 to U+0100 and up. -1: none.
int byte_of_character(char32_t character);
/// The bytes of a token; the token's own text where a character stands for no byte, as tokenizers decodes it.
std::string bytes_of_token(std::string_view token);

}  // namespace penstock
