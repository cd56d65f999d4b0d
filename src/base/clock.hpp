// SPDX-License-Identifier: Apache-2.0
#pragma once
// What durations are measured with.

#include <chrono>

namespace penstock {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace penstock
