// SPDX-License-Identifier: Apache-2.0
#include "base/suggest.hpp"

#include <algorithm>
#include <tuple>
#include <vector>

#include "base/error.hpp"

namespace penstock {

namespace {

char small_letter(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_letter(char a, char b) { return small_letter(a) == small_letter(b); }

/// "model.heads" -> {"model", "heads"}; without a dot the section is empty.
std::pair<std::string_view, std::string_view> split_key(std::string_view key) {
  const std::size_t dot = key.find('.');
  if (dot == std::string_view::npos) return {{}, key};
  return {key.substr(0, dot), key.substr(dot + 1)};
}

template <typename Distance>
std::string smallest(std::span<const std::string> known, Distance distance) {
  const auto found = std::min_element(known.begin(), known.end(), [&](const std::string& a, const std::string& b) {
    return distance(a) < distance(b);
  });
  return found == known.end() ? std::string() : *found;
}

}  // namespace

std::size_t edit_distance(std::string_view from, std::string_view to) {
  // Three rows of the table of distances between all prefixes of the two words: a swap looks back two rows.
  std::vector<std::size_t> before(to.size() + 1), last(to.size() + 1), row(to.size() + 1);
  for (std::size_t j = 0; j <= to.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::swap(before, last);
    std::swap(last, row);
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (same_letter(from[i - 1], to[j - 1]) ? 0 : 1);
      row[j] = std::min({replaced, last[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && same_letter(from[i - 1], to[j - 2]) && same_letter(from[i - 2], to[j - 1]);
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[to.size()];
}

std::string nearest(std::string_view word, std::span<const std::string> known) {
  return smallest(known, [&](const std::string& candidate) { return edit_distance(word, candidate); });
}

std::string nearest_key(std::string_view key, std::span<const std::string> known) {
  const auto [section, name] = split_key(key);
  const bool section_is_known =
      std::any_of(known.begin(), known.end(),
                  [wanted = section](const std::string& candidate) { return split_key(candidate).first == wanted; });
  return smallest(known, [&, wanted_section = section, wanted_name = name](const std::string& candidate) {
    const auto [candidate_section, candidate_name] = split_key(candidate);
    const std::size_t elsewhere = candidate_section == wanted_section ? 0 : 1;
    const std::size_t as_a_whole = section_is_known ? 0 : edit_distance(key, candidate);
    return std::tuple(edit_distance(wanted_name, candidate_name) + elsewhere, as_a_whole);
  });
}

std::string choice_text(std::span<const std::string> words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += words[i];
  }
  return text;
}

std::string divisors_text(std::int64_t n) {
  ensure(n >= 1, "divisors_text: n is at least 1");
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d <= n / d; ++d) {
    if (n % d != 0) continue;
    divisors.push_back(d);
    if (d != n / d) divisors.push_back(n / d);
  }
  std::sort(divisors.begin(), divisors.end());
  std::vector<std::string> words;
  for (const std::int64_t d : divisors) words.push_back(std::to_string(d));
  return choice_text(words);
}

}  // namespace penstock
