// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_level_tokenizer.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "tokenizer/nfc.hpp"

namespace penstock {
namespace {

std::vector<AddedToken> tokens_where(const TokenizerJson& json, bool normalized, const UnicodeTable& table) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : json.added) {
    if (token.normalized != normalized) continue;
    if (normalized && json.nfc) token.content = nfc(token.content, table);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

/// All bytes of the token's characters; empty for a token that is not made of them, which no word is.
std::string word_of_token(std::string_view token) {
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint point = code_point_at(token.data() + at);
    if (byte_of_character(point.value) < 0) return "";
    at += point.bytes;
  }
  return bytes_of_token(token);
}

BytePairEncoder encoder_of(const TokenizerJson& json) {
  std::array<TokenId, 256> bytes{};
  bytes.fill(json.unknown >= 0 ? json.unknown : BytePairEncoder::no_token);
  std::vector<std::string> words(json.tokens.size());
  for (std::size_t id = 0; id < json.of_model.size(); ++id)
    if (json.of_model[id]) words[id] = word_of_token(json.tokens[id]);
  for (std::size_t id = 0; id < words.size(); ++id)
    if (words[id].size() == 1) bytes[static_cast<unsigned char>(words[id][0])] = static_cast<TokenId>(id);
  if (!json.ignore_merges) words.clear();
  return {bytes, json.merges, words};
}

bool is_all_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return static_cast<unsigned char>(byte) < 0x80; });
}

}  // namespace

ByteLevelTokenizer::ByteLevelTokenizer(TokenizerJson json)
    : table_(std::make_unique<const UnicodeTable>()),
      nfc_(json.nfc),
      raw_tokens_(tokens_where(json, false, *table_), *table_),
      normalized_tokens_(tokens_where(json, true, *table_), *table_),
      pre_tokenizer_(json.stages, *table_),
      encoder_(encoder_of(json)),
      special_(json.tokens.size()),
      before_(json.before),
      after_(json.after) {
  cuttable_ = pre_tokenizer_.ends_words_after_letters();
  for (const std::string& token : json.tokens) bytes_.push_back(bytes_of_token(token));
  for (const AddedToken& token : json.added) special_[static_cast<std::size_t>(token.id)] = token.special;
}

const std::string* ByteLevelTokenizer::bytes_of(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= bytes_.size()) return nullptr;
  const std::string& bytes = bytes_[static_cast<std::size_t>(id)];
  return bytes.empty() ? nullptr : &bytes;
}

void ByteLevelTokenizer::encode(std::string_view text, std::vector<TokenId>& ids, EncoderScratch& scratch) const {
  const auto push = [&](TokenId id) { ids.push_back(id); };
  raw_tokens_.split(
      text,
      [&](std::string_view part) {
        if (!nfc_ || is_inert_under_nfc(part, *table_)) return encode_normalized(part, ids, scratch);
        encode_normalized(nfc(part, *table_), ids, scratch);
      },
      push);
}

void ByteLevelTokenizer::encode_normalized(std::string_view text, std::vector<TokenId>& ids,
                                           EncoderScratch& scratch) const {
  normalized_tokens_.split(
      text,
      [&](std::string_view part) {
        pre_tokenizer_.split(part, [&](std::string_view word) { encoder_.append(word, ids, scratch); });
      },
      [&](TokenId id) { ids.push_back(id); });
}

// A cut lies outside any added token, between a letter and a code point that belongs to no word
// (PreTokenizer::ends_words_after_letters).
bool ByteLevelTokenizer::cuts_at(std::string_view bytes, std::size_t at) const {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if ((byte(at) & 0xc0U) == 0x80) return false;
  std::size_t before = at - 1;
  while (before > 0 && at - before < 4 && (byte(before) & 0xc0U) == 0x80) --before;
  if (const Utf8Step step = utf8_step(bytes, before); !step.good || before + step.bytes != at) return false;
  if (((*table_)[code_point_at(bytes.data() + before).value] & UnicodeTable::letter) == 0) return false;
  if (!utf8_step(bytes, at).good || bytes[at] == '\'') return false;
  constexpr std::uint8_t in_words =
      UnicodeTable::letter | UnicodeTable::number | UnicodeTable::digit | UnicodeTable::mark;
  if (((*table_)[code_point_at(bytes.data() + at).value] & (in_words | UnicodeTable::nfc)) != 0) return false;
  if (raw_tokens_.any_around(bytes, at) || normalized_tokens_.any_around(bytes, at)) return false;
  if (!nfc_ || normalized_tokens_.empty()) return true;
  const std::size_t around = normalized_tokens_.longest();
  return is_all_ascii(bytes.substr(at - std::min(at, around), 2 * around));
}

std::optional<std::size_t> ByteLevelTokenizer::find_cut(std::string_view bytes, std::size_t from, bool complete) const {
  if (!cuttable_) return std::nullopt;
  const std::size_t ahead = complete ? 1 : 4 + std::max(raw_tokens_.longest(), normalized_tokens_.longest());
  for (std::size_t at = std::max<std::size_t>(from, 1); at + ahead <= bytes.size(); ++at)
    if (cuts_at(bytes, at)) return at;
  return std::nullopt;
}

std::optional<TokenId> ByteLevelTokenizer::id_of_special(std::string_view content) const {
  for (std::size_t id = 0; id < bytes_.size(); ++id)
    if (special_[id] && bytes_[id] == content) return static_cast<TokenId>(id);
  return std::nullopt;
}

}  // namespace penstock
