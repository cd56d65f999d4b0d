// SPDX-License-Identifier: Apache-2.0
#include "model/families/families.hpp"

#include <algorithm>
#include <array>

namespace penstock {

std::span<const Family> families() {
  static const std::array all{gpt2_family, llama_family, mistral_family, qwen2_family, qwen3_family};
  return all;
}

bool has_key(const ModelConfig& config, std::string_view key) {
  bool of_some = false;
  for (const Family& family : families()) {
    const bool has = std::find(family.keys.begin(), family.keys.end(), key) != family.keys.end();
    if (has && family.name == config.family) return true;
    of_some |= has;
  }
  return !of_some;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const Family& family : families()) names.emplace_back(family.name);
  return names;
}

}  // namespace penstock
