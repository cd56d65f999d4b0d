// SPDX-License-Identifier: Apache-2.0
#pragma once
// `penstock train` on one rank: a run attempt from the deck to its end.

#include "train/train_request.hpp"

namespace penstock {

/// Starts MPI, makes all that a run attempt needs, trains, and ends MPI. After a collective end rank 0 returns the exit
/// code and the other ranks 0. One rank's own trouble ends the job.
int train(const TrainRequest& request);

}  // namespace penstock
