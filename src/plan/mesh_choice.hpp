// SPDX-License-Identifier: Apache-2.0
#pragma once
// mesh.auto: the mesh for as many ranks as a job got.

#include <vector>

#include "plan/run_config.hpp"

namespace penstock {

/// All meshes of so many ranks, those that change the least of the wanted one first: its tensor and pipeline axes are
/// kept where that can be, then the tensor axis alone; else the nearest sizes come first.
std::vector<RunConfig::MeshSizes> meshes_near(const RunConfig::MeshSizes& wanted, int ranks);

/// The deck with the first of these meshes that its model, batch and schedule allow; as it is where its own mesh has so
/// many ranks. Throws InputError, with the nearest numbers of ranks that fit, where there is none; without a job, of
/// `penstock check --ranks`, in one line: the meshes that were tried are not the user's.
RunDeck fit_mesh(const Deck& deck, int ranks, bool for_a_job = true);

/// "data 2 x pipeline 2 x tensor 1"
std::string text_of(const RunConfig::MeshSizes& mesh);

}  // namespace penstock
