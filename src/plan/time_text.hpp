// SPDX-License-Identifier: Apache-2.0
#pragma once
// Times in a form for people.

#include <string>

namespace penstock {

/// "12 s", "3:07 min", "26:10 h"
std::string short_time(double seconds);

}  // namespace penstock
