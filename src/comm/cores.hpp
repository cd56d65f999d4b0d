// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "comm/world.hpp"

namespace penstock {

/// Collective: as cores_of_rank, in parts of a core: below 1 where ranks share cores.
double share_of_cores(World& world);

/// Collective: cores this rank may call its own: of each core it is allowed to run on, its share among the ranks of
/// this node that are allowed there too. Right for ranks that the launcher bound to cores of their own, for ranks that
/// share all cores, and inside a container that has some. At least 1.
int cores_of_rank(World& world);

/// Collective: threads that this rank computes with: as many as the deck wants, else OMP_NUM_THREADS, else the cores
/// that it may call its own.
int threads_of_rank(World& world, std::int64_t wanted);

}  // namespace penstock
