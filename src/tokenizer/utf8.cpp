// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/utf8.hpp"

#include <cstring>

namespace penstock {
namespace {

struct Utf8Lead {
  std::uint32_t bytes;      // of the character; 0: begins none
  unsigned char low, high;  // what may follow first
};

Utf8Lead utf8_lead(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xc2) return {0, 0, 0};
  if (byte < 0xe0) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};  // no surrogates
  if (byte < 0xf0) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};  // up to U+10FFFF
  return {0, 0, 0};
}

bool eight_are_ascii(const char* at) {
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, at, sizeof bytes);
  return (bytes & 0x8080808080808080U) == 0;
}

}  // namespace

Utf8Step utf8_step(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const Utf8Lead lead = utf8_lead(byte(0));
  if (lead.bytes == 0) return {1, false, false};
  for (std::uint32_t i = 1; i < lead.bytes; ++i) {
    if (at + i == text.size()) return {i, false, true};
    const bool follows = i == 1 ? byte(1) >= lead.low && byte(1) <= lead.high : (byte(i) & 0xc0U) == 0x80;
    if (!follows) return {i, false, false};
  }
  return {lead.bytes, true, false};
}

std::size_t first_broken_byte(std::string_view text, std::size_t from) {
  while (from < text.size()) {
    if (from + 8 <= text.size() && eight_are_ascii(text.data() + from)) {
      from += 8;
      continue;
    }
    const Utf8Step step = utf8_step(text, from);
    if (!step.good) return from;
    from += step.bytes;
  }
  return from;
}

RepairedText repaired(std::string_view text) {
  RepairedText result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t broken = first_broken_byte(text, at);
    result.text.append(text.substr(at, broken - at));
    if (broken == text.size()) break;
    result.text.append(replacement_character);
    ++result.broken_parts;
    at = broken + utf8_step(text, broken).bytes;
  }
  return result;
}

void append_utf8(char32_t code_point, std::string& text) {
  const auto push = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) return push(code_point);
  if (code_point < 0x800) {
    push(0xc0U | code_point >> 6);
  } else if (code_point < 0x10000) {
    push(0xe0U | code_point >> 12);
    push(0x80U | (code_point >> 6 & 0x3fU));
  } else {
    push(0xf0U | code_point >> 18);
    push(0x80U | (code_point >> 12 & 0x3fU));
    push(0x80U | (code_point >> 6 & 0x3fU));
  }
  push(0x80U | (code_point & 0x3fU));
}

void Utf8Stream::replace(std::uint32_t bytes, std::string& text) const {
  const std::uint32_t times = broken_ == Broken::one_for_a_part ? 1 : bytes;
  for (std::uint32_t i = 0; i < times; ++i) text.append(replacement_character);
}

std::string Utf8Stream::add(std::string_view bytes) {
  waiting_.append(bytes);
  std::string text;
  std::size_t at = 0;
  while (at < waiting_.size()) {
    const std::size_t broken = first_broken_byte(waiting_, at);
    text.append(waiting_, at, broken - at);
    at = broken;
    if (at == waiting_.size()) break;
    const Utf8Step step = utf8_step(waiting_, at);
    if (step.cut) break;
    replace(step.bytes, text);
    at += step.bytes;
  }
  waiting_.erase(0, at);
  return text;
}

std::string Utf8Stream::finish() {
  std::string text;
  if (!waiting_.empty()) replace(static_cast<std::uint32_t>(waiting_.size()), text);
  waiting_.clear();
  return text;
}

}  // namespace penstock
