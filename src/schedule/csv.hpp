// SPDX-License-Identifier: Apache-2.0
#pragma once
// Schedules as CSV files: a line a pipeline rank, cells like 2F0, 2I0, 2W0, 2B0 (B: fused), no transfers.

#include <string>
#include <string_view>

#include "schedule/schedule.hpp"

namespace penstock {

/// What a table computes; transfers and whole-step actions of a lowered one are left out (`lower` adds them).
std::string to_csv(const Schedule& schedule);

/// A table that is not lowered, named `name`. Blanks around cells, empty cells and blank lines are passed over. Stages
/// and microbatches are counted from the cells; a stage lives on the rank in whose line it stands.
/// Throws InputError with file, line, cell, rule and cure: for a cell that is no F, I, W or B, a stage in two lines, an
/// action that is missing or stands twice, an order in which ranks wait for each other forever.
Schedule schedule_from_csv(std::string_view csv, std::string_view file, std::string_view name);

}  // namespace penstock
