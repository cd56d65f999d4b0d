// SPDX-License-Identifier: Apache-2.0
#pragma once
// Times as people read them.

#include <string>

namespace penstock {

/// "12 s", "3:07 min", "26:10 h"
std::string short_time(double seconds);

}  // namespace penstock
