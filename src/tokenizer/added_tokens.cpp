// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/added_tokens.hpp"

#include <algorithm>

#include "tokenizer/utf8.hpp"

namespace penstock {
namespace {

std::size_t byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

/// The place of the character that ends before `end` > 0.
std::size_t character_before(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  while (at > 0 && (byte_at(text, at) & 0xc0U) == 0x80) --at;
  return at;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const UnicodeTable& table)
    : tokens_(std::move(tokens)), begin_of_byte_(257), begins_with_(65536), table_(&table) {
  std::sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    const auto first_a = byte_at(a.content, 0), first_b = byte_at(b.content, 0);
    return first_a != first_b ? first_a < first_b : a.content.size() > b.content.size();
  });
  for (const AddedToken& token : tokens_) {
    const std::size_t first = byte_at(token.content, 0);
    ++begin_of_byte_[first + 1];
    longest_ = std::max(longest_, token.content.size());
    if (token.content.size() > 1) {
      begins_with_[first * 256 + byte_at(token.content, 1)] = true;
    } else {
      std::fill_n(begins_with_.begin() + static_cast<std::ptrdiff_t>(first * 256), 256, true);
    }
  }
  for (std::size_t byte = 0; byte < 256; ++byte) begin_of_byte_[byte + 1] += begin_of_byte_[byte];
}

const AddedToken* AddedTokens::find_here(std::string_view text, std::size_t at) const {
  const std::size_t first = byte_at(text, at);
  for (std::uint32_t i = begin_of_byte_[first]; i < begin_of_byte_[first + 1]; ++i)
    if (text.substr(at, tokens_[i].content.size()) == tokens_[i].content) return &tokens_[i];
  return nullptr;
}

const AddedToken* AddedTokens::find(std::string_view text, std::size_t& at) const {
  if (tokens_.empty()) return nullptr;
  for (; at < text.size(); ++at) {
    const std::size_t first = byte_at(text, at);
    if (begin_of_byte_[first] == begin_of_byte_[first + 1]) continue;
    if (at + 1 < text.size() && !begins_with_[first * 256 + byte_at(text, at + 1)]) continue;
    if (const AddedToken* token = find_here(text, at)) return token;
  }
  return nullptr;
}

bool AddedTokens::any_around(std::string_view bytes, std::size_t at) const {
  for (std::size_t begin = at - std::min(at, longest_); begin <= at && begin < bytes.size(); ++begin) {
    const std::size_t first = byte_at(bytes, begin);
    for (std::uint32_t i = begin_of_byte_[first]; i < begin_of_byte_[first + 1]; ++i) {
      const std::string& content = tokens_[i].content;
      if (begin + content.size() >= at && bytes.substr(begin, content.size()) == content) return true;
    }
  }
  return false;
}

bool AddedTokens::touches_word(std::string_view text, std::size_t begin, std::size_t end) const {
  const auto is_word = [&](std::size_t at) {
    return ((*table_)[code_point_at(text.data() + at).value] & UnicodeTable::word) != 0;
  };
  return (begin > 0 && is_word(character_before(text, begin))) || (end < text.size() && is_word(end));
}

std::size_t AddedTokens::spaces_begin(std::string_view text, std::size_t end) const {
  while (end > 0) {
    const std::size_t at = character_before(text, end);
    if (((*table_)[code_point_at(text.data() + at).value] & UnicodeTable::space) == 0) break;
    end = at;
  }
  return end;
}

std::size_t AddedTokens::spaces_end(std::string_view text, std::size_t begin) const {
  while (begin < text.size()) {
    const CodePoint point = code_point_at(text.data() + begin);
    if (((*table_)[point.value] & UnicodeTable::space) == 0) break;
    begin += point.bytes;
  }
  return begin;
}

}  // namespace penstock
