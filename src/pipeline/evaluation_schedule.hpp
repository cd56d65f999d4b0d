// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "schedule/schedule.hpp"

namespace penstock {

/// The table of an evaluation on the stages of a training schedule: G, each microbatch's forward passes with their
/// transfers, and N, which sums the losses. Microbatches pass all stages in the same order, so the transfers of a rank
/// and its neighbours have the same order, wherever the stages are.
Schedule evaluation_schedule(const Schedule& training, int microbatches);

}  // namespace penstock
