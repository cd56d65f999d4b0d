// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "train/set_up_run.hpp"

namespace penstock {

/// Collective: where recompute.policy is auto, sets the plan's policies to the cheapest that fit into the device with
/// least room, the same on all ranks, and logs the costs of each.
void choose_recomputation(World& world, RunSetup& setup);

/// Collective: compares the memory that every rank plans with that of its device. If the plan does not fit, throws
/// CollectiveFailure and names the smallest change that would fit. If it fits only once other processes free memory,
/// warns.
void refuse_what_does_not_fit(World& world, const RunSetup& setup);

}  // namespace penstock
