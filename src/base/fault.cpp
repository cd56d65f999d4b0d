// SPDX-License-Identifier: Apache-2.0
#include "base/fault.hpp"

#ifdef PENSTOCK_FAULTS

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

namespace {

constexpr std::array fault_names{
#define PENSTOCK_FAULT(name, what, tests) std::string_view(#name),
#include "base/faults.def"
#undef PENSTOCK_FAULT
};

[[noreturn]] void refuse_fault(std::string_view asked) {
  std::string known;
  for (const std::string_view name : fault_names) known.append(known.empty() ? "" : ", ").append(name);
  std::fprintf(stderr, "penstock: PENSTOCK_FAULT = %.*s: there is no such fault; use one of %s, or unset it\n",
               static_cast<int>(asked.size()), asked.data(), known.c_str());
  _exit(2);
}

std::optional<Fault> fault_of_environment() {
  const char* value = std::getenv("PENSTOCK_FAULT");
  const std::string_view asked = value ? value : "";
  if (asked.empty()) return std::nullopt;
  const auto* const found = std::find(fault_names.begin(), fault_names.end(), asked);
  if (found == fault_names.end()) refuse_fault(asked);
  return static_cast<Fault>(found - fault_names.begin());
}

// Read before main: with a mistyped name every test would pass.
const std::optional<Fault> chosen_fault = fault_of_environment();

}  // namespace

bool planted(Fault fault) { return chosen_fault == fault; }

}  // namespace penstock

#endif
