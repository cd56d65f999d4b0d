// SPDX-License-Identifier: Apache-2.0
#include "config/field_table.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/suggest.hpp"

namespace penstock {

namespace {

/// "tensor" of "mesh.tensor"; the key itself without a dot.
std::string name_of(const std::string& key) { return key.substr(key.find('.') + 1); }

std::string section_of(const std::string& key) {
  const std::size_t dot = key.find('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

/// The line to write, where it belongs: `tensor = 2 under [mesh]` or `--set 'mesh.tensor=2'`.
std::string line_to_write(const std::string& key, const std::string& value, bool as_override) {
  if (as_override) return fmt::format("--set '{}={}'", key, value);
  return fmt::format("{} = {} under [{}]", name_of(key), value, section_of(key));
}

}  // namespace

Field& FieldTable::add_field(Field field) {
  const std::string& key = field.key();
  const std::size_t dot = key.find('.');
  ensure(dot != std::string::npos && dot > 0 && dot + 1 < key.size() && key.find('.', dot + 1) == std::string::npos,
         key + ": a key is section.name");
  ensure(!find(key), key + ": this key stands in the table twice");
  if (!has_section(field.section())) sections_.push_back(field.section());
  return fields_.emplace_back(std::move(field));
}

const Field* FieldTable::find(std::string_view key) const {
  const auto found =
      std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) { return field.key() == key; });
  return found == fields_.end() ? nullptr : &*found;
}

const Field& FieldTable::field(std::string_view key) const {
  const Field* found = find(key);
  ensure(found != nullptr, std::string(key) + ": the table has no such key");
  return *found;
}

bool FieldTable::has_section(std::string_view section) const {
  return std::find(sections_.begin(), sections_.end(), section) != sections_.end();
}

std::string FieldTable::nearest_known_key(std::string_view key) const {
  std::vector<std::string> keys;
  for (const Field& field : fields_) keys.push_back(field.key());
  return nearest_key(key, keys);
}

void FieldTable::read(const Deck& deck) {
  Mistakes mistakes;
  read(deck, mistakes);
  mistakes.throw_if_any();
}

void FieldTable::read(const Deck& deck, Mistakes& mistakes) {
  start_reading(deck);
  for (const DeckEntry& entry : deck.entries()) read_entry(entry, mistakes);
  demand_required(deck, mistakes);
}

void FieldTable::start_reading(const Deck& deck) {
  deck_name_ = deck.name();
  given_.clear();
  for (Field& field : fields_) {
    field.assign(field.default_value());
    if (field.is_required()) continue;
    const auto broken = field.broken_rule(field.default_value());  // an echo with this default could not be read back
    ensure(!broken, fmt::format("{}: the default {}", field.key(), broken.value_or("")));
  }
}

void FieldTable::read_entry(const DeckEntry& entry, Mistakes& mistakes) {
  const auto field =
      std::find_if(fields_.begin(), fields_.end(), [&](const Field& known) { return known.key() == entry.key; });
  if (field != fields_.end()) {
    read_value(entry, *field, mistakes);
  } else if (!has_section(entry.key)) {
    refuse_unknown(entry, mistakes);
  } else if (entry.value) {
    mistakes.add("{}: {} = {} is {}, but {} is a section; write {}", entry.place, entry.key,
                 shortened(toml_text(*entry.value)), kind_text(*entry.value), entry.key,
                 entry.is_override ? fmt::format("--set {}.key=value", entry.key)
                                   : fmt::format("[{}] once and its keys below it, a line each", entry.key));
  }
}

void FieldTable::read_value(const DeckEntry& entry, Field& field, Mistakes& mistakes) {
  Given& given = given_[field.key()];
  given.place = entry.place;
  if (!entry.value) {
    mistakes.add("{}: {} is written as a section, but it takes {}; write {}", entry.place, entry.key,
                 field.type_with_article(), line_to_write(entry.key, field.example(), false));
    return;
  }
  const std::string written = shortened(toml_text(*entry.value));
  const std::optional<FieldValue> value = field.convert(*entry.value);
  if (!value) {
    mistakes.add("{}: {} = {} is {}, but it takes {}; write it as in {}", entry.place, entry.key, written,
                 kind_text(*entry.value), field.type_with_article(),
                 line_to_write(entry.key, field.probably_meant(*entry.value), entry.is_override));
    return;
  }
  if (const auto broken = field.broken_rule(*value)) {
    mistakes.add("{}: {} = {} {}", entry.place, entry.key, written, *broken);
    return;
  }
  field.assign(*value);
  given.right = true;
}

void FieldTable::refuse_unknown(const DeckEntry& entry, Mistakes& mistakes) const {
  if (!entry.value) {
    refuse_unknown_section(entry, mistakes);
    return;
  }
  const std::string section = section_of(entry.key);
  const bool told_with_its_section = !entry.is_override && !section.empty() && !has_section(section);
  if (!told_with_its_section) refuse_unknown_key(entry, mistakes);
}

void FieldTable::refuse_unknown_section(const DeckEntry& entry, Mistakes& mistakes) const {
  const std::string section = section_of(entry.key);
  if (section.empty()) {
    mistakes.add("{}: unknown section [{}]; the nearest known section is [{}]", entry.place, entry.key,
                 nearest(entry.key, sections_));
  } else if (has_section(section)) {
    mistakes.add("{}: [{}] is a section within a section; a deck has one level: keys stand directly under [{}]",
                 entry.place, entry.key, section);
  }
}

void FieldTable::refuse_unknown_key(const DeckEntry& entry, Mistakes& mistakes) const {
  const std::string known = nearest_known_key(entry.key);
  const std::string place_for_it = entry.is_override ? fmt::format("--set {}=...", known)
                                                     : fmt::format("{} under [{}]", name_of(known), section_of(known));
  mistakes.add("{}: unknown key {}; the nearest known key is {}: write {}", entry.place, entry.key, known,
               place_for_it);
}

void FieldTable::demand_required(const Deck& deck, Mistakes& mistakes) const {
  for (const Field& field : fields_) {
    if (!field.is_required() || given(field.key())) continue;
    mistakes.add("{}: {} is missing and has no default ({}); write {}, or give --set {}=...", deck.name(), field.key(),
                 field.meaning(), line_to_write(field.key(), field.example(), false), field.key());
  }
}

bool FieldTable::usable(std::initializer_list<std::string_view> keys) const {
  return std::all_of(keys.begin(), keys.end(), [this](std::string_view key) {
    const auto found = given_.find(std::string(key));
    return found == given_.end() ? !field(key).is_required() : found->second.right;
  });
}

bool FieldTable::given(std::string_view key) const { return given_.contains(field(key).key()); }

std::string FieldTable::where(std::string_view key) const {
  const auto found = given_.find(field(key).key());
  return found == given_.end() ? deck_name_ : found->second.place;
}

std::string FieldTable::echo(const std::function<bool(std::string_view key)>& belongs) const {
  std::string text;
  for (const std::string& section : sections_) {
    text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    for (const Field& field : fields_) {
      if (field.section() != section || (field.is_required() && !usable({field.key()}))) continue;
      if (belongs && !belongs(field.key())) continue;
      text += fmt::format("{} = {}\n", field.name(), toml_text(field.value()));
    }
  }
  return text;
}

}  // namespace penstock
