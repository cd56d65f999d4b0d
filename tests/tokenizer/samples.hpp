// SPDX-License-Identifier: Apache-2.0
#pragma once
// The small tokenizers of tests/tokenizer/samples, and what the libraries make of texts with them: make_samples.py.

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

namespace penstock::test {

inline std::string sample_path(const std::string& name) {
  return std::string(PENSTOCK_SOURCE_DIR) + "/tests/tokenizer/samples/" + name;
}

inline std::string sample_text(const std::string& name) {
  std::ifstream file(sample_path(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline nlohmann::json sample_json(const std::string& name) { return nlohmann::json::parse(sample_text(name)); }

/// small.json as a variant of golden.json has it: what it replaces, and then a merge patch.
inline nlohmann::json variant_of_small(const nlohmann::json& variant) {
  nlohmann::json tokenizer = sample_json("small.json");
  for (const auto& key : variant["replace"]) tokenizer.erase(key.get<std::string>());
  tokenizer.merge_patch(variant["patch"]);
  return tokenizer;
}

}  // namespace penstock::test
