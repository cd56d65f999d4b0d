// SPDX-License-Identifier: Apache-2.0
#include "config/mistakes.hpp"

#include <fmt/ranges.h>

#include "base/error.hpp"

namespace penstock {

void Mistakes::throw_if_any() const {
  if (lines_.empty()) return;
  if (lines_.size() == 1) throw InputError(lines_.front());
  throw_input_error("{} mistakes in the input:\n  {}", lines_.size(), fmt::join(lines_, "\n  "));
}

}  // namespace penstock
