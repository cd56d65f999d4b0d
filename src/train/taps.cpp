// SPDX-License-Identifier: Apache-2.0
#include "train/taps.hpp"

#include <algorithm>
#include <set>

#include "base/error.hpp"

namespace penstock {

namespace {

// "blocks.12.mlp" -> "blocks.*.mlp"
std::string with_star(const std::string& tap) {
  constexpr std::string_view prefix = "blocks.";
  if (!tap.starts_with(prefix)) return tap;
  const std::size_t end = std::min(tap.find('.', prefix.size()), tap.size());
  return std::string(prefix) + "*" + tap.substr(end);
}

}  // namespace

std::vector<std::string> all_taps(std::int64_t layers) {
  std::vector<std::string> taps{"embedding", "embedding.gradient"};
  for (std::int64_t i = 0; i < layers; ++i)
    for (const char* part : {".attention", ".mlp", ""})
      for (const char* what : {"", ".gradient"}) taps.push_back(fmt::format("blocks.{}{}{}", i, part, what));
  taps.insert(taps.end(), {"logits", "logits.gradient", "loss"});
  return taps;
}

std::vector<std::string> expand_taps(const std::vector<std::string>& patterns, std::int64_t layers) {
  const std::set<std::string> wanted(patterns.begin(), patterns.end());
  std::vector<std::string> named;
  for (const std::string& tap : all_taps(layers))
    if (wanted.contains(tap) || wanted.contains(with_star(tap))) named.push_back(tap);
  return named;
}

std::vector<std::string> unknown_taps(const std::vector<std::string>& patterns, std::int64_t layers) {
  std::set<std::string> known;
  for (const std::string& tap : all_taps(layers)) known.insert({tap, with_star(tap)});
  std::vector<std::string> unknown;
  for (const std::string& pattern : patterns)
    if (!known.contains(pattern)) unknown.push_back(pattern);
  return unknown;
}

std::string taps_text(std::int64_t layers) {
  return fmt::format(
      "use embedding, blocks.i, blocks.i.attention, blocks.i.mlp (i from 0 to {}, or * for all), logits or loss; all "
      "but "
      "loss also with .gradient behind",
      layers - 1);
}

}  // namespace penstock
