// SPDX-License-Identifier: Apache-2.0
#include "config/deck_value.hpp"

#include <fmt/core.h>

#include <cmath>

namespace penstock {

namespace {

constexpr std::size_t kLongestInMessage = 80;

std::string plural_kind(const DeckValue& value) {
  switch (value.value.index()) {
    case 0:
      return "integers";
    case 1:
      return "floats";
    case 2:
      return "booleans";
    case 3:
      return "texts";
    case 4:
      return "lists";
    default:
      return "other things";
  }
}

std::string list_kind(const DeckList& list) {
  if (list.empty()) return "an empty list";
  for (const DeckValue& element : list)
    if (element.value.index() != list.front().value.index()) return "a list of mixed types";
  return "a list of " + plural_kind(list.front());
}

std::string escaped(char c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\t':
      return "\\t";
    case '\r':
      return "\\r";
    default:
      break;
  }
  const auto byte = static_cast<unsigned char>(c);
  const bool control = byte < 0x20 || byte == 0x7f;
  return control ? fmt::format("\\u{:04X}", byte) : std::string(1, c);
}

}  // namespace

std::string toml_text(std::int64_t value) { return fmt::format("{}", value); }

std::string toml_text(double value) {
  std::string text = fmt::format("{}", value);
  // Without a point or an exponent TOML would read an integer, and -0.0 would lose its sign.
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string toml_text(bool value) { return value ? "true" : "false"; }

std::string toml_text(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) text += escaped(c);
  return text + "\"";
}

std::string toml_text(const DeckValue& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, ForeignValue>)
          return held.written;
        else
          return toml_text(held);
      },
      value.value);
}

std::string kind_text(const DeckValue& value) {
  switch (value.value.index()) {
    case 0:
      return "an integer";
    case 1:
      return "a float";
    case 2:
      return "a boolean";
    case 3:
      return "text";
    case 4:
      return list_kind(std::get<DeckList>(value.value));
    default:
      return std::get<ForeignValue>(value.value).kind;
  }
}

std::string shortened(std::string text) {
  if (text.size() <= kLongestInMessage) return text;
  // Cut before the first byte of a UTF-8 character, never inside one.
  std::size_t end = kLongestInMessage - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

}  // namespace penstock
