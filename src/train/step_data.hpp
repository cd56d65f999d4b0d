// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where the steps' tokens come from.

#include <memory>

#include "data/batch_reader.hpp"
#include "pipeline/executor.hpp"
#include "train/set_up_run.hpp"

namespace penstock {

/// Collective: with data.stage, copies the token files to each node's own disk, and `setup` names the copies from then
/// on. Throws CollectiveFailure.
void stage_data(World& world, RunSetup& setup);

/// Collective: this rank's reader of the training samples after the first `samples`. Throws CollectiveFailure.
std::unique_ptr<BatchReader> open_reader(World& world, const RunSetup& setup, std::uint64_t samples);

/// The batch as the executor takes it: points into `batch`.
StepTokens tokens_of(const StepBatch& batch);

}  // namespace penstock
