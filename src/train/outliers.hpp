// SPDX-License-Identifier: Apache-2.0
#pragma once
// Outliers: which of several measured times stand out.

#include <cstddef>
#include <vector>

namespace penstock {

struct Outlier {
  std::size_t index = 0;
  double times_the_median = 1;
};

/// Times that are longer than the median by more than the factor `tolerance` (1.1: a tenth). Times of zero
/// (not measured) are left out.
std::vector<Outlier> outliers(const std::vector<double>& seconds, double tolerance);

}  // namespace penstock
