// SPDX-License-Identifier: Apache-2.0
#include "plan/time_text.hpp"

#include <fmt/core.h>

#include <cmath>
#include <cstdint>

namespace penstock {

std::string short_time(double seconds) {
  constexpr double most = 1e15;  // a damaged file may contain any number, also NaN, which is not below it either
  if (!(std::abs(seconds) < most)) return "an unknown time";
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
}

}  // namespace penstock
