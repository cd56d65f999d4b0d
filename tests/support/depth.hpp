// SPDX-License-Identifier: Apache-2.0
#pragma once
// How deep tests go: by default they cover what matters, under `scripts/test --all` they run full products.

#include <cstdlib>
#include <string_view>

namespace penstock::test {

/// Whether PENSTOCK_TEST_DEPTH is "all".
inline bool deep() {
  const char* depth = std::getenv("PENSTOCK_TEST_DEPTH");
  return depth && std::string_view(depth) == "all";
}

}  // namespace penstock::test
