// SPDX-License-Identifier: Apache-2.0
// FieldTable::explain: the table as text for a terminal.

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/suggest.hpp"
#include "config/field_table.hpp"

namespace penstock {

namespace {

constexpr std::size_t kColumns = 100;
constexpr std::size_t kWidestDefault = 16;

/// Lines of at most `width` characters, broken at blanks; a longer word has a line of its own.
std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  std::string line;
  while (!text.empty()) {
    const std::size_t blank = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, blank);
    text.remove_prefix(std::min(blank + 1, text.size()));
    if (!line.empty() && line.size() + 1 + word.size() > width) lines.push_back(std::exchange(line, ""));
    if (!line.empty()) line += ' ';
    line += word;
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

std::string indented(const std::vector<std::string>& lines, std::size_t indent) {
  std::string text;
  for (const std::string& line : lines) text += std::string(indent, ' ') + line + "\n";
  return text;
}

/// Short words for the column; the long ones are for messages.
std::string type_column(const Field& field) {
  const std::string type = field.type_text();
  if (type == "list of integers") return "integers";
  return type == "list of texts" ? "texts" : type;
}

std::string default_column(const Field& field) {
  return field.is_required() ? "(required)" : toml_text(field.default_value());
}

std::string meaning_column(const Field& field) {
  const std::string rules = field.rules_text();
  return rules.empty() ? field.meaning() : field.meaning() + "; " + rules;
}

struct Widths {
  std::size_t name = 0, type = 0, preset = 0, unit = 0;
};

/// Of the whole table, so that all sections share their columns.
Widths widths_of(const std::deque<Field>& fields) {
  Widths widths;
  for (const Field& field : fields) {
    widths.name = std::max(widths.name, field.name().size());
    widths.type = std::max(widths.type, type_column(field).size());
    widths.preset = std::max(widths.preset, std::min(default_column(field).size(), kWidestDefault));
    widths.unit = std::max(widths.unit, field.unit().size());
  }
  return widths;
}

std::string row(const Field& field, const Widths& widths) {
  std::string left = fmt::format("  {:<{}}  {:<{}}  {:<{}}  {:<{}}  ", field.name(), widths.name, type_column(field),
                                 widths.type, default_column(field), widths.preset, field.unit(), widths.unit);
  const std::size_t indent = 2 + widths.name + 2 + widths.type + 2 + widths.preset + 2 + widths.unit + 2;
  const std::string right = indented(wrapped(meaning_column(field), indent < kColumns ? kColumns - indent : 1), indent);
  if (left.size() > indent) {  // a long default pushes the meaning to the next line
    left.erase(left.find_last_not_of(' ') + 1);
    return left + "\n" + right;
  }
  return left + right.substr(std::min(indent, right.size()));
}

}  // namespace

std::string FieldTable::explain() const {
  std::string text;
  for (const std::string& section : sections_) {
    if (!text.empty()) text += '\n';
    text += explain_section(section);
  }
  return text;
}

std::string FieldTable::explain(std::string_view key_or_section) const {
  if (has_section(key_or_section)) return explain_section(std::string(key_or_section));
  if (const Field* found = find(key_or_section)) return explain_field(*found);
  const std::string_view section_of_key = key_or_section.substr(0, key_or_section.find('.'));
  if (has_section(section_of_key)) {
    std::vector<std::string> keys;
    for (const Field& field : fields_)
      if (field.section() == section_of_key) keys.push_back(field.key());
    throw_input_error("{} is no key of a deck; the nearest in its section is {}, and `penstock explain {}` shows all",
                      key_or_section, nearest(key_or_section, keys), section_of_key);
  }
  const std::string known = nearest_known_key(key_or_section);
  const std::string section = nearest(key_or_section, sections_);
  throw_input_error("{} is neither a key nor a section of a deck; the nearest known key is {}, the nearest section {}",
                    key_or_section, known, section);
}

std::string FieldTable::explain_section(const std::string& section) const {
  const Widths widths = widths_of(fields_);
  std::string text = fmt::format("[{}]\n", section);
  for (const Field& known : fields_)
    if (known.section() == section) text += row(known, widths);
  return text;
}

std::string FieldTable::explain_field(const Field& shown) const {
  constexpr std::size_t indent = 2;
  std::string text = shown.key() + "\n" + indented(wrapped(shown.meaning(), kColumns - indent), indent);
  const auto line = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) text += fmt::format("  {:<8}  {}\n", name, value);
  };
  line("type", shown.type_text());
  line("default", shown.is_required() ? "none: a deck must say it" : toml_text(shown.default_value()));
  line("unit", shown.unit());
  line("rule", shown.rules_text());
  if (!shown.advanced().empty()) text += indented(wrapped(shown.advanced(), kColumns - indent), indent);
  return text;
}

}  // namespace penstock
