// SPDX-License-Identifier: Apache-2.0
#pragma once
// A value of a deck, independent of the TOML library.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace penstock {

struct DeckValue;
using DeckList = std::vector<DeckValue>;

/// A TOML value that no key of a deck accepts: a date, an inline table, a list of tables.
struct ForeignValue {
  std::string written;
  std::string kind;  // "a date"
  bool operator==(const ForeignValue&) const = default;
};

struct DeckValue {
  std::variant<std::int64_t, double, bool, std::string, DeckList, ForeignValue> value;
  bool operator==(const DeckValue&) const = default;
};

// The value as TOML text. A double is the shortest text that reads back to the same bits, and never looks like an
// integer; a string is quoted and escaped, on one line.
std::string toml_text(std::int64_t value);
std::string toml_text(double value);
std::string toml_text(bool value);
std::string toml_text(const std::string& value);
std::string toml_text(const DeckValue& value);

/// "[1, 2]"
template <typename Element>
std::string toml_text(const std::vector<Element>& list) {
  std::string text = "[";
  for (const Element& element : list) {
    if (text.size() > 1) text += ", ";
    text += toml_text(element);
  }
  return text + "]";
}

/// What the value is, for a message: "an integer", "a list of mixed types".
std::string kind_text(const DeckValue& value);

/// At most 80 characters of `text`, with a mark where it was cut: messages with values are one line long.
std::string shortened(std::string text);

}  // namespace penstock
