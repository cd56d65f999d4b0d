// SPDX-License-Identifier: Apache-2.0
#pragma once
// Outliers: which of several measured times are unusually long.

#include <cmath>
#include <cstddef>
#include <vector>

namespace penstock {

struct Outlier {
  std::size_t index = 0;
  double times_the_median = 1;
  std::size_t compared = 0;  ///< number of times that the median covers

  /// For the kind of a warning: twice as bad is another kind.
  int doublings() const { return std::ilogb(times_the_median); }
};

/// Times that are longer than the median by more than the factor `tolerance` (1.1: a tenth). Times of zero
/// (not measured) are left out.
std::vector<Outlier> outliers(const std::vector<double>& seconds, double tolerance);
/// The same among times of equal work: those with equal `kinds`, one for each time.
std::vector<Outlier> outliers_of_equals(const std::vector<double>& seconds, const std::vector<int>& kinds,
                                        double tolerance);

}  // namespace penstock
