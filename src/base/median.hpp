// SPDX-License-Identifier: Apache-2.0
#pragma once
// The median of measurements.

#include <vector>

namespace penstock {

/// Of an even number of values the lower middle one: disturbances only make times longer, and so the slower of two can
/// stand out. 0 for no values.
double median_of(std::vector<double> values);

}  // namespace penstock
