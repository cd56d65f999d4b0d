#include "train/outliers.hpp"

#include <algorithm>

namespace penstock {

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

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
