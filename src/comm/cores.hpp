// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "comm/world.hpp"

namespace penstock {

/// Collective: like cores_of_rank, but fractional: below 1 if ranks share cores.
double share_of_cores(World& world);

/// Collective: the cores of this rank: of each core on which it may run, its share among the ranks of this node that
/// may run there, too. Correct for ranks that the launcher bound to separate cores, for ranks that share all cores, and
/// inside a container that has some. At least 1.
int cores_of_rank(World& world);

/// Collective: the computing threads of this rank: the deck's number, otherwise OMP_NUM_THREADS, otherwise
/// cores_of_rank.
int threads_of_rank(World& world, std::int64_t wanted);

}  // namespace penstock
