// SPDX-License-Identifier: Apache-2.0
#include "base/program_version.hpp"

namespace penstock {

std::string_view program_version() { return PENSTOCK_VERSION; }

}  // namespace penstock
