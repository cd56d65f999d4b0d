// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace penstock {

/// "0.1.0", as `penstock --version` prints it.
std::string_view program_version();

}  // namespace penstock
