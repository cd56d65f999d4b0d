// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the user wrote: a TOML file and the `--set` overrides, with the place of every entry. A value that knows no
// keys.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/deck_value.hpp"

namespace penstock {

/// One `[section]` or one `key = value`.
struct DeckEntry {
  std::string key;                 // "model" for a section, "model.layers" for a value in it
  std::optional<DeckValue> value;  // nothing: a section
  std::string place;               // "input/x.toml:12" or "--set model.layers=3"
  bool is_override = false;
};

class Deck {
 public:
  /// An empty deck.
  explicit Deck(std::string name = "deck") : name_(std::move(name)) {}
  /// Reads TOML text; `name_for_messages` is the file's name, or a name in its place. Throws InputError with line and
  /// column when the text is not TOML. Whether the keys exist and their values fit is the field table's question.
  static Deck parse(std::string_view text, std::string name_for_messages);
  /// Reads a TOML file. Throws InputError when it cannot be opened, and as parse() does.
  static Deck load(const std::string& path);

  /// Sets a key by "mesh.tensor=2", whatever the deck says: the value is TOML, or otherwise a plain string. The last
  /// override of a key counts. Throws InputError when `key_and_value` is not of the form section.key=value.
  void set(std::string_view key_and_value);

  /// Adds a key from another file, with its place for messages. LogicError if the deck already has the key.
  void add(std::string key, DeckValue value, std::string place);

  /// Whether the file or an override sets the key.
  bool says(std::string_view key) const;

  const std::string& name() const { return name_; }
  /// In the order of the file, then the overrides in the order given; a key that is overridden appears once.
  const std::vector<DeckEntry>& entries() const { return entries_; }

 private:
  std::string name_;
  std::vector<DeckEntry> entries_;
};

/// The value that `text` writes in TOML; nothing when it is not one TOML value.
std::optional<DeckValue> parse_value(std::string_view text);

}  // namespace penstock
