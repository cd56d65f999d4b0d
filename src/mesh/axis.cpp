// SPDX-License-Identifier: Apache-2.0
#include "mesh/axis.hpp"

#include <algorithm>

namespace penstock {

AxisSet::AxisSet(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) add(name);
}

AxisSet AxisSet::of(const std::vector<Axis>& axes) {
  AxisSet set;
  for (const Axis& axis : axes) set.add(axis.name);
  return set;
}

bool AxisSet::contains(std::string_view axis) const { return std::binary_search(begin(), end(), axis); }

void AxisSet::add(std::string_view name) {
  const auto place = std::lower_bound(names_.begin(), names_.end(), name);
  if (place == names_.end() || *place != name) names_.emplace(place, name);
}

}  // namespace penstock
