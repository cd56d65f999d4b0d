// SPDX-License-Identifier: Apache-2.0
#include "model/families/families.hpp"

#include <array>

namespace penstock {

std::span<const Family> families() {
  static const std::array all{gpt2_family};
  return all;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const Family& family : families()) names.emplace_back(family.name);
  return names;
}

}  // namespace penstock
