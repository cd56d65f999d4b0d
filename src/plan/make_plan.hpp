// SPDX-License-Identifier: Apache-2.0
#pragma once
// make_plan: turns a deck into what all ranks hold and do.

#include <string>

#include "pipeline/rank_model.hpp"
#include "plan/run_config.hpp"

namespace penstock {

/// The text of a schedule.file; empty without one. Throws InputError if it cannot be read.
std::string read_schedule_file(const std::string& path);

/// Everything that follows from the config and is the same on every rank: partition, schedule (lowered and proved),
/// parameters. With a schedule.file its text is in `schedule.table`. Throws InputError.
ModelPlan make_plan(const RunConfig& config);

}  // namespace penstock
