// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/name_list.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "base/error.hpp"

namespace penstock {

namespace {

constexpr std::string_view digits = "0123456789";
constexpr std::size_t most_digits = 9;

// The text before and after a name's first number, and that number.
struct Numbered {
  std::string before, after;
  std::int64_t number = 0;
};

// Nothing if the name contains no number, or one that would be written differently ("007").
std::optional<Numbered> first_number(const std::string& name) {
  const std::size_t begin = name.find_first_of(digits);
  if (begin == std::string::npos) return std::nullopt;
  const std::size_t end = std::min(name.find_first_not_of(digits, begin), name.size());
  const std::string text = name.substr(begin, end - begin);
  if (text.size() > most_digits || (text.front() == '0' && text.size() > 1)) return std::nullopt;
  return Numbered{name.substr(0, begin), name.substr(end), std::stoll(text)};
}

using Numbers = std::map<std::pair<std::string, std::string>, std::set<std::int64_t>>;

void add_runs(const std::string& before, const std::string& after, const std::set<std::int64_t>& numbers,
              std::set<std::string>& lines) {
  for (auto first = numbers.begin(); first != numbers.end();) {
    auto last = first;
    for (auto next = std::next(last); next != numbers.end() && *next == *last + 1; ++next) last = next;
    lines.insert(first == last ? fmt::format("{}{}{}", before, *first, after)
                               : fmt::format("{}{{{}..{}}}{}", before, *first, *last, after));
    first = std::next(last);
  }
}

// Reads a number from the front of the text, and removes it.
std::optional<std::int64_t> take_number(std::string_view& text) {
  const std::size_t length = std::min(text.find_first_not_of(digits), text.size());
  if (length == 0 || length > most_digits) return std::nullopt;
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + length, number);
  text.remove_prefix(length);
  return number;
}

bool take_word(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

// Adds a line's names; false if it is no such line, or the names need more than `room` bytes.
bool unfold_line(std::string_view line, std::size_t& room, std::vector<std::string>& names) {
  const auto add = [&](std::string name) {
    const std::size_t taken = sizeof(std::string) + name.size();
    if (taken > room) return false;
    room -= taken;
    names.push_back(std::move(name));
    return true;
  };
  const std::size_t brace = line.find_first_of("{}");
  if (brace == std::string_view::npos) return !line.empty() && add(std::string(line));
  const std::string before(line.substr(0, brace));
  std::string_view rest = line.substr(brace);
  if (!take_word(rest, "{")) return false;
  const auto first = take_number(rest);
  if (!first || !take_word(rest, "..")) return false;
  const auto last = take_number(rest);
  if (!last || *last < *first || !take_word(rest, "}") || rest.find_first_of("{}") != std::string_view::npos)
    return false;
  for (std::int64_t number = *first; number <= *last; ++number)
    if (!add(before + std::to_string(number) + std::string(rest))) return false;
  return true;
}

}  // namespace

std::string folded(const std::vector<std::string>& names) {
  std::set<std::string> lines;
  Numbers numbers;
  for (const std::string& name : names) {
    ensure(!name.empty() && name.find_first_of("{}\n") == std::string::npos, "folded: a name with braces or lines");
    if (const auto numbered = first_number(name))
      numbers[{numbered->before, numbered->after}].insert(numbered->number);
    else
      lines.insert(name);
  }
  for (const auto& [around, of_these] : numbers) add_runs(around.first, around.second, of_these, lines);
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

std::optional<std::vector<std::string>> unfolded(std::string_view text) {
  std::size_t room = std::size_t{64} << 20;
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (!unfold_line(text.substr(begin, end - begin), room, names)) return std::nullopt;
    begin = end + 1;
  }
  return names;
}

}  // namespace penstock
