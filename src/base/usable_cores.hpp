// SPDX-License-Identifier: Apache-2.0
#pragma once
// The cores that this process may run on: fewer than the machine has inside containers, batch jobs and under taskset.

#include <cstddef>
#include <vector>

namespace penstock {

/// Their numbers, ascending; never empty. Where the system does not say which, those of all cores.
std::vector<std::size_t> usable_cores();

}  // namespace penstock
