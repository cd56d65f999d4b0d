// SPDX-License-Identifier: Apache-2.0
#pragma once
// mesh.auto: the mesh for the number of ranks of a job.

#include <vector>

#include "plan/run_config.hpp"

namespace penstock {

/// All meshes of this number of ranks, the ones nearest to the wanted one first: first those with its tensor and
/// pipeline axes, then those with its tensor axis, then the nearest sizes.
std::vector<RunConfig::MeshSizes> meshes_near(const RunConfig::MeshSizes& wanted, int ranks);

/// The deck with the first of these meshes that its model, batch and schedule allow; unchanged if its own mesh has this
/// number of ranks. If there is none, throws InputError with the nearest numbers of ranks that fit; without a job
/// (`penstock check --ranks`) in one line, because the meshes that were tried are not the user's.
RunDeck fit_mesh(const Deck& deck, int ranks, bool for_a_job = true);

/// "data 2 x pipeline 2 x tensor 1"
std::string text_of(const RunConfig::MeshSizes& mesh);

}  // namespace penstock
