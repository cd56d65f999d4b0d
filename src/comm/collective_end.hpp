// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a rank's process ends when a command that all ranks run has thrown.

#include "comm/world.hpp"

namespace penstock {

/// To be called in the handler of what was thrown. A failure that all ranks share is printed once; the exit code of
/// this rank: rank 0 returns the failure's, the others 0. One rank's own failure ends the whole job.
int exit_code_of_failure(World& world);

}  // namespace penstock
