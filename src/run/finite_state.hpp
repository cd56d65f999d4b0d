// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether training can continue from a state.

#include <string>
#include <vector>

#include "checkpoint/checkpoint.hpp"

namespace penstock {

/// "blocks.5.mlp.up.weight[37, 12] is nan": the first of this rank's master weights that is infinite or NaN, with its
/// global index; empty if all are finite. `memory` is host memory.
std::string first_nonfinite_weight(const std::vector<ParameterSpec>& specs, const ParameterLayout& layout,
                                   const StateSource& memory);

}  // namespace penstock
