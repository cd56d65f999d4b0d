// SPDX-License-Identifier: Apache-2.0
#pragma once
// The median of what was measured.

#include <vector>

namespace penstock {

/// Of an even number the lower middle one: disturbances only make times longer, and of two the slower can stand out
/// against the median. 0 of none.
double median_of(std::vector<double> values);

}  // namespace penstock
