// SPDX-License-Identifier: Apache-2.0
#include "train/outliers.hpp"

#include <algorithm>
#include <iterator>

#include "base/median.hpp"

namespace penstock {

std::vector<Outlier> outliers(const std::vector<double>& seconds, double tolerance) {
  std::vector<double> measured;
  std::copy_if(seconds.begin(), seconds.end(), std::back_inserter(measured), [](double s) { return s > 0; });
  const double median = median_of(measured);
  std::vector<Outlier> found;
  for (std::size_t i = 0; i < seconds.size(); ++i)
    if (seconds[i] > tolerance * median) found.push_back({i, seconds[i] / median});
  return found;
}

}  // namespace penstock
