// SPDX-License-Identifier: Apache-2.0
#pragma once
// GELU, tanh form, and its derivative, of one number.

#include <cmath>
#include <numbers>

namespace penstock::reference {

inline constexpr double gelu_slope = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;  // sqrt(2 / pi)
inline constexpr double gelu_cubic = 0.044715;

inline double gelu(double u) { return 0.5 * u * (1 + std::tanh(gelu_slope * (u + gelu_cubic * u * u * u))); }

inline double gelu_derivative(double u) {
  const double t = std::tanh(gelu_slope * (u + gelu_cubic * u * u * u));
  return 0.5 * (1 + t) + 0.5 * u * (1 - t * t) * gelu_slope * (1 + 3 * gelu_cubic * u * u);
}

}  // namespace penstock::reference
