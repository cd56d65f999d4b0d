// SPDX-License-Identifier: Apache-2.0
#include "run/finite_state.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace penstock {

namespace {

// Visits all values: a loop that ends at the first hit would take several times as long.
bool are_finite(const float* values, std::int64_t count) {
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) finite &= std::fabs(values[i]) <= std::numeric_limits<float>::max();
  return finite;
}

std::string place_in(const Box& box, std::int64_t element) {
  std::string indices;
  for (int d = box.extent.dimensions() - 1; d >= 0; --d) {
    const std::int64_t index = box.offset[static_cast<std::size_t>(d)] + element % box.extent[d];
    element /= box.extent[d];
    indices = std::to_string(index) + (indices.empty() ? "" : ", ") + indices;
  }
  return indices;
}

}  // namespace

std::string first_nonfinite_weight(const std::vector<ParameterSpec>& specs, const ParameterLayout& layout,
                                   const StateSource& memory) {
  for (const OwnedBox& owned : layout.owned()) {
    const float* values = memory(State::parameters, owned);
    const std::int64_t count = owned.box.elements();
    if (are_finite(values, count)) continue;
    const float* first = std::find_if(values, values + count, [](float value) { return !std::isfinite(value); });
    return fmt::format("{}[{}] is {}", specs[owned.parameter].name, place_in(owned.box, first - values), *first);
  }
  return "";
}

}  // namespace penstock
