// SPDX-License-Identifier: Apache-2.0
#pragma once
// Preflight: before step 1 each rank times a product and each axis a message; slow ones are named.

#include <vector>

#include "comm/world.hpp"
#include "device/queue.hpp"
#include "observe/link_probe.hpp"
#include "pipeline/rank_model.hpp"

namespace penstock {

/// A rank whose product takes longer than the median of all ranks by more than this is named.
inline constexpr double preflight_tolerance = 1.1;

/// Collective: warnings about slow ranks and links, the same on every rank. Takes a fraction of a second (measured
/// again if something is slow; only what is slow twice is named), and half a second for each slow link. Products use
/// `idle`, memory that is still free, of the same size on every rank.
std::vector<Warning> preflight(World& world, Queue& queue, const ModelPlan& plan, TensorView idle, LinkProbe& links);

/// Collective: whether the ranks of some node have more threads than cores. Then times mean nothing.
bool ranks_share_cores(World& world, int threads);

}  // namespace penstock
