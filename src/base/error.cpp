// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"

namespace penstock {

void throw_logic_error(std::string_view what, std::source_location where) {
  throw LogicError(fmt::format("{}:{}: {}", where.file_name(), where.line(), what));
}

}  // namespace penstock
