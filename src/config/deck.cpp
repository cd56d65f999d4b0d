// SPDX-License-Identifier: Apache-2.0
#include "config/deck.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>

#include "base/error.hpp"
#include "base/user_path.hpp"

namespace penstock {

namespace {

constexpr std::string_view kBareKeyCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

bool is_bare_key(std::string_view text) {
  return !text.empty() && text.find_first_not_of(kBareKeyCharacters) == std::string_view::npos;
}

/// A key that needs quotes keeps them, so that a dot inside a key is never taken for a section's.
std::string key_text(std::string_view key) { return is_bare_key(key) ? std::string(key) : toml_text(std::string(key)); }

ForeignValue foreign(const toml::node& node, std::string kind) {
  std::ostringstream written;
  node.visit([&](const auto& held) { written << held; });
  return {written.str(), std::move(kind)};
}

DeckValue to_deck_value(const toml::node& node);

DeckValue to_deck_value(const toml::array& array) {
  DeckList list;
  for (const toml::node& element : array) list.push_back(to_deck_value(element));
  return {std::move(list)};
}

DeckValue to_deck_value(const toml::node& node) {
  if (const auto* integer = node.as_integer()) return {integer->get()};
  if (const auto* real = node.as_floating_point()) return {real->get()};
  if (const auto* boolean = node.as_boolean()) return {boolean->get()};
  if (const auto* text = node.as_string()) return {text->get()};
  if (const auto* array = node.as_array()) return to_deck_value(*array);
  if (node.is_table()) return {foreign(node, "an inline table")};
  return {foreign(node, node.is_time() ? "a time" : "a date")};
}

/// A `[[section]]`, which toml++ holds as an array; `key = [{...}]` is another spelling of the same.
bool is_list_of_tables(const toml::node& node) {
  const toml::array* array = node.as_array();
  return array && array->is_array_of_tables();
}

struct Placed {
  toml::source_position position;
  DeckEntry entry;
};

class Walk {
 public:
  explicit Walk(std::string name) : name_(std::move(name)) {}

  /// The tables of toml++ are sorted by key; messages follow the order of the file.
  std::vector<DeckEntry> entries_of(const toml::table& root) {
    visit(root, "");
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Placed& a, const Placed& b) { return a.position < b.position; });
    std::vector<DeckEntry> entries;
    for (Placed& placed : found_) entries.push_back(std::move(placed.entry));
    return entries;
  }

 private:
  void visit(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string path = prefix + key_text(key.str());
      const toml::table* section = node.as_table();
      if (section && !section->is_inline()) {
        note(key, path, std::nullopt);
        if (prefix.empty()) visit(*section, path + ".");  // deeper ones are refused by name
      } else if (is_list_of_tables(node)) {
        note(key, path, DeckValue{ForeignValue{"[[...]]", "a list of tables"}});
      } else {
        note(key, path, to_deck_value(node));
      }
    }
  }

  void note(const toml::key& key, const std::string& path, std::optional<DeckValue> value) {
    const toml::source_position position = key.source().begin;
    found_.push_back({position, {path, std::move(value), fmt::format("{}:{}", name_, position.line), false}});
  }

  std::string name_;
  std::vector<Placed> found_;
};

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_dotted_key(std::string_view text) {
  for (;;) {
    const std::size_t dot = text.find('.');
    if (!is_bare_key(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

/// The position after a string or comment that begins at `at`.
std::size_t behind_text(std::string_view text, std::size_t at) {
  const char quote = text[at];
  if (quote == '#') return std::min(text.find('\n', at), text.size());
  const std::string three(3, quote);
  const bool many_lines = text.substr(at, 3) == three;
  const std::size_t marks = many_lines ? 3 : 1;
  for (std::size_t i = at + marks; i < text.size(); ++i) {
    if (text.substr(i, marks) == three.substr(0, marks)) return i + marks;
    if (!many_lines && text[i] == '\n') return i;
    if (quote == '"' && text[i] == '\\') ++i;
  }
  return text.size();
}

/// The position of a dotted key that has more parts than any deck key, if there is one. toml++ recurses once for each
/// part, without a bound.
std::optional<std::size_t> place_of_a_deep_key(std::string_view text) {
  constexpr int most_dots = 15;
  int dots = 0;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\'' || c == '#') {
      i = behind_text(text, i);
      continue;
    }
    if (c == '.' && ++dots > most_dots) return i;
    if (c != '.' && c != ' ' && c != '\t' && kBareKeyCharacters.find(c) == std::string_view::npos) dots = 0;
    ++i;
  }
  return std::nullopt;
}

}  // namespace

Deck Deck::parse(std::string_view text, std::string name_for_messages) {
  Deck deck(std::move(name_for_messages));
  if (const auto place = place_of_a_deep_key(text))
    throw_input_error("{}:{}: a key of more than 16 parts; a deck's keys have two, section.key", deck.name_,
                      1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(*place), '\n'));
  try {
    deck.entries_ = Walk(deck.name_).entries_of(toml::parse(text));
  } catch (const toml::parse_error& error) {
    const toml::source_position place = error.source().begin;
    throw_input_error("{}:{}:{}: this is not TOML: {}", deck.name_, place.line, place.column, error.description());
  }
  return deck;
}

Deck Deck::load(const std::string& path) {
  const std::filesystem::file_status status = status_of_path(path, "give the path of a TOML file");
  if (std::filesystem::is_directory(status)) throw_input_error("{}: this is a folder; give the deck's file", path);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))  // opening a pipe would wait
    throw_input_error("{}: is not a regular file; give the path of a TOML file", path);
  std::ifstream file(path, std::ios::binary);
  if (!file) throw_input_error("{}: cannot open this deck; give the path of a TOML file that you may read", path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) throw SystemError(fmt::format("{}: reading failed", path));
  return parse(text, path);
}

void Deck::set(std::string_view key_and_value) {
  const std::size_t equals = key_and_value.find('=');
  const std::string key(trimmed(key_and_value.substr(0, equals)));
  if (equals == std::string_view::npos || !is_dotted_key(key))
    throw_input_error("--set {}: this is not of the form section.key=value; write as in --set mesh.tensor=2",
                      shortened(std::string(key_and_value)));
  const std::string written(trimmed(key_and_value.substr(equals + 1)));
  if (const std::size_t digits = written.find_first_not_of("+-");
      digits <= 1 && !parse_value(written) && written.find_first_not_of("0123456789_", digits) == std::string::npos)
    throw_input_error("--set {}: this number is too large; integers go from {} to {}",
                      shortened(std::string(key_and_value)), std::numeric_limits<std::int64_t>::min(),
                      std::numeric_limits<std::int64_t>::max());
  DeckValue value = parse_value(written).value_or(DeckValue{written});
  std::erase_if(entries_, [&](const DeckEntry& entry) { return entry.key == key && entry.value; });
  entries_.push_back({key, std::move(value), "--set " + shortened(std::string(key_and_value)), true});
}

void Deck::add(std::string key, DeckValue value, std::string place) {
  ensure(!says(key), key + ": the deck says it");
  entries_.push_back({std::move(key), std::move(value), std::move(place), false});
}

bool Deck::says(std::string_view key) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const DeckEntry& entry) { return entry.key == key && entry.value; });
}

std::optional<DeckValue> parse_value(std::string_view text) {
  if (place_of_a_deep_key(text)) return std::nullopt;
  try {
    const toml::table table = toml::parse("value = " + std::string(text));
    const toml::node* node = table.get("value");
    if (table.size() != 1 || !node) return std::nullopt;  // the text continued with further keys
    return to_deck_value(*node);
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

}  // namespace penstock
