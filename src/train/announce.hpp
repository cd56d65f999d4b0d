// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a run writes to its log at its beginning and at its end.

#include <string>

#include "comm/world.hpp"
#include "device/queue.hpp"
#include "run/product_choices.hpp"
#include "run/run_folder.hpp"
#include "run/stop_check.hpp"
#include "train/set_up_run.hpp"

namespace penstock {

/// Collective: writes which process each rank is. Launchers name a lost process by host and number.
void list_ranks(World& world, const RunFolder& folder);
/// Logs the model, mesh, schedule, memory and warnings of the deck.
void introduce(const World& world, const RunSetup& setup, const Queue& queue, const ProductChoices& products);

/// Logs why and at which step the attempt ended, and where its files are.
void announce_end(const RunConfig& config, const RunFolder& folder, std::int64_t step, StopReason reason, int signal);
/// Collective: logs the memory that each rank held, compared with the plan.
void announce_memory(World& world, const RunSetup& setup, const Queue& queue);
/// Collective: logs how each rank's steps spent their time; `mine` is this rank's line (StepTimes::line).
void announce_times(World& world, const std::string& mine);

}  // namespace penstock
