// SPDX-License-Identifier: Apache-2.0
#pragma once
// The loss on the validation file.

#include "pipeline/engine.hpp"
#include "train/set_up_run.hpp"

namespace penstock {

/// Collective, between two steps: the mean loss of samples 0, 1, ... of the validation file under the weights after
/// `step` updates. No step is under way. Throws CollectiveFailure.
double evaluate(World& world, const RunSetup& setup, Engine& engine, std::int64_t step);

}  // namespace penstock
