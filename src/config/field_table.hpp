// SPDX-License-Identifier: Apache-2.0
#pragma once
// The table of all keys of a deck. The reader, the errors, the echo and the explanation come from it.
//
//   struct MeshConfig {
//     std::int64_t tensor = 1;
//     void describe(FieldTable& table) {
//       table.add("mesh.tensor", tensor, "Ranks that share the matrices of a block").unit("ranks").at_least(1);
//     }
//   };

#include <deque>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/deck.hpp"
#include "config/field.hpp"
#include "config/mistakes.hpp"

namespace penstock {

/// Borrows the members that are added: the config structs must outlive the table and must not move meanwhile.
class FieldTable {
 public:
  /// Binds the key "section.name" to a member, whose present value is the default. T: std::int64_t, double, bool,
  /// std::string, std::vector<std::int64_t>, std::vector<std::string>. The returned Field stays valid with the table.
  template <FieldType T>
  Field& add(std::string key, T& target, std::string meaning) {
    return add_field(Field(std::move(key), FieldTarget(&target), std::move(meaning)));
  }
  /// The same for a member of an enum, which a deck says by one of `words`.
  template <typename Enum>
  requires std::is_enum_v<Enum> Field& add(std::string key, Enum& target, std::string meaning,
                                           const Words<Enum>& words) {
    std::vector<std::string> choices;
    for (const auto& [word, value] : words) choices.push_back(word);
    return add_field(Field(std::move(key), WordTarget(target, words), std::move(meaning))).one_of(std::move(choices));
  }

  /// Sets every member to what the deck says, or else to its default. Throws one InputError that holds all mistakes.
  void read(const Deck& deck);
  /// As above, but adds the mistakes to a list, to which rules across keys can be added. A member whose value is wrong
  /// keeps its default: usable() says which rules can be checked.
  void read(const Deck& deck, Mistakes& mistakes);

  /// Whether all these keys were read without a mistake (a default counts, a missing required key does not).
  bool usable(std::initializer_list<std::string_view> keys) const;
  /// Whether the deck sets the key (rightly or wrongly).
  bool given(std::string_view key) const;
  /// Where the key's value comes from, for the beginning of a message: "input/x.toml:12", "--set mesh.tensor=5", or the
  /// deck's name for a default.
  std::string where(std::string_view key) const;

  /// The present values as TOML text, in order of declaration; reading it back gives equal values, doubles bit for bit.
  /// Leaves out required keys that were not given, and keys for which `belongs` (to what the deck describes) is false.
  std::string echo(const std::function<bool(std::string_view key)>& belongs = {}) const;

  /// All keys by section, with type, default, unit, meaning and rules, for a terminal of 100 columns.
  std::string explain() const;
  /// The same for one section, or for one key in detail. Throws InputError, with the nearest known word, for any other
  /// word.
  std::string explain(std::string_view key_or_section) const;

  const std::deque<Field>& fields() const { return fields_; }

 private:
  struct Given {
    std::string place;
    bool right = false;
  };

  Field& add_field(Field field);
  const Field* find(std::string_view key) const;
  const Field& field(std::string_view key) const;
  bool has_section(std::string_view section) const;
  std::string nearest_known_key(std::string_view key) const;

  void start_reading(const Deck& deck);
  void read_entry(const DeckEntry& entry, Mistakes& mistakes);
  void read_value(const DeckEntry& entry, Field& field, Mistakes& mistakes);
  void refuse_unknown(const DeckEntry& entry, Mistakes& mistakes) const;
  void refuse_unknown_section(const DeckEntry& entry, Mistakes& mistakes) const;
  void refuse_unknown_key(const DeckEntry& entry, Mistakes& mistakes) const;
  void demand_required(const Deck& deck, Mistakes& mistakes) const;

  std::string explain_section(const std::string& section) const;
  std::string explain_field(const Field& field) const;

  std::deque<Field> fields_;  // a deque, because add() returns references
  std::vector<std::string> sections_;
  std::unordered_map<std::string, Given> given_;
  std::string deck_name_ = "deck";
};

}  // namespace penstock
