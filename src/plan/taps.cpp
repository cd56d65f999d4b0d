// SPDX-License-Identifier: Apache-2.0
#include "plan/taps.hpp"

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "model/taps.hpp"

namespace penstock {

namespace {

// "blocks.12.mlp" -> "blocks.*.mlp"
std::string with_star(const std::string& tap) {
  constexpr std::string_view prefix = "blocks.";
  if (!tap.starts_with(prefix)) return tap;
  const std::size_t end = std::min(tap.find('.', prefix.size()), tap.size());
  return std::string(prefix) + "*" + tap.substr(end);
}

bool rotates(const BranchDescription& branch) { return branch.attention() && branch.attention()->rotation; }

}  // namespace

std::vector<std::string> all_taps(const ModelDescription& model) {
  std::vector<std::string> taps{"embedding", "embedding.gradient"};
  for (std::int64_t i = 0; i < model.layers(); ++i) {
    const std::string block = fmt::format("blocks.{}", i);
    for (const BranchDescription& branch : model.block(static_cast<int>(i)).branches) {
      if (rotates(branch))
        for (const std::string_view what : {query_tap, key_tap})
          taps.push_back(fmt::format("{}.{}{}", block, branch.name, what));
      for (const char* what : {"", ".gradient"}) taps.push_back(fmt::format("{}.{}{}", block, branch.name, what));
    }
    for (const char* what : {"", ".gradient"}) taps.push_back(block + what);
  }
  taps.insert(taps.end(), {"logits", "logits.gradient", "loss"});
  return taps;
}

std::vector<std::string> expand_taps(const std::vector<std::string>& patterns, const ModelDescription& model) {
  const std::set<std::string> wanted(patterns.begin(), patterns.end());
  std::vector<std::string> named;
  for (const std::string& tap : all_taps(model))
    if (wanted.contains(tap) || wanted.contains(with_star(tap))) named.push_back(tap);
  return named;
}

std::vector<std::string> unknown_taps(const std::vector<std::string>& patterns, const ModelDescription& model) {
  std::set<std::string> known;
  for (const std::string& tap : all_taps(model)) known.insert({tap, with_star(tap)});
  std::vector<std::string> unknown;
  for (const std::string& pattern : patterns)
    if (!known.contains(pattern)) unknown.push_back(pattern);
  return unknown;
}

std::string taps_text(const ModelDescription& model) {
  std::string branches;
  for (const std::string& branch : model.branch_names()) branches += fmt::format(", blocks.i.{}", branch);
  std::string heads;
  for (const BranchDescription& branch : model.block(0).branches)
    if (rotates(branch)) heads += fmt::format(", blocks.i.{0}{1}, blocks.i.{0}{2}", branch.name, query_tap, key_tap);
  return fmt::format(
      "use embedding, blocks.i{} (i from 0 to {}, or * for all) or logits, each also with .gradient after the name{}, "
      "or "
      "loss",
      branches, model.layers() - 1, heads);
}

}  // namespace penstock
