// SPDX-License-Identifier: Apache-2.0
#pragma once
// Faults planted in the program, to check that the tests catch them (scripts/check_faults). Preset `faults` compiles
// them in, and PENSTOCK_FAULT chooses one when the program starts. In every other build `planted` is false at compile
// time, so the program contains no fault.

namespace penstock {

enum class Fault {
#define PENSTOCK_FAULT(name, what, tests) name,
#include "base/faults.def"
#undef PENSTOCK_FAULT
};

#ifdef PENSTOCK_FAULTS
/// Whether the environment asks for this fault.
bool planted(Fault fault);
#else
consteval bool planted(Fault) { return false; }
#endif

}  // namespace penstock
