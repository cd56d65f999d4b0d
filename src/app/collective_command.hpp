// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a command runs on all ranks of a job.

#include <functional>

#include "comm/world.hpp"

namespace penstock {

/// Starts MPI and the log, runs the command on this rank, and ends MPI: after a collective end rank 0 returns the code
/// and the others 0. One rank's own failure ends the job.
int run_collectively(const std::function<int(World&)>& command);

}  // namespace penstock
