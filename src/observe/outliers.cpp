// SPDX-License-Identifier: Apache-2.0
#include "observe/outliers.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/median.hpp"

namespace penstock {

std::vector<Outlier> outliers(const std::vector<double>& seconds, double tolerance) {
  std::vector<double> measured;
  std::copy_if(seconds.begin(), seconds.end(), std::back_inserter(measured), [](double s) { return s > 0; });
  const double median = median_of(measured);
  std::vector<Outlier> found;
  for (std::size_t i = 0; i < seconds.size(); ++i)
    if (seconds[i] > tolerance * median) found.push_back({i, seconds[i] / median, measured.size()});
  return found;
}

std::vector<Outlier> outliers_of_equals(const std::vector<double>& seconds, const std::vector<int>& kinds,
                                        double tolerance) {
  std::vector<Outlier> found;
  for (const int kind : std::set<int>(kinds.begin(), kinds.end())) {
    std::vector<double> equals(seconds.size(), 0);  // zero: left out
    for (std::size_t i = 0; i < seconds.size(); ++i)
      if (kinds[i] == kind) equals[i] = seconds[i];
    const std::vector<Outlier> among = outliers(equals, tolerance);
    found.insert(found.end(), among.begin(), among.end());
  }
  std::sort(found.begin(), found.end(), [](const Outlier& a, const Outlier& b) { return a.index < b.index; });
  return found;
}

}  // namespace penstock
