// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "train/set_up_run.hpp"

namespace penstock {

/// Collective: compares what every rank plans with what its device has, and throws CollectiveFailure with the smallest
/// change that would fit where it does not. Where memory that others hold now would do, it warns.
void refuse_what_does_not_fit(World& world, const RunSetup& setup);

}  // namespace penstock
