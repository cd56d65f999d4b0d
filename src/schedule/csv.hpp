// SPDX-License-Identifier: Apache-2.0
#pragma once
// Schedules as CSV files: one line for each pipeline rank, cells like 2F0, 2I0, 2W0, 2B0 (B: fused), no transfers.

#include <string>
#include <string_view>

#include "schedule/schedule.hpp"

namespace penstock {

/// The computing of a table, without the transfers and whole-step actions of a lowered one (`lower` adds them).
std::string to_csv(const Schedule& schedule);

/// A table that is not lowered, named `name`. Blanks around cells, empty cells and blank lines are ignored. Stages and
/// microbatches are counted from the cells; a stage is on the rank in whose line it appears. Throws InputError with
/// file, line, cell, rule and cure: for a cell that is not F, I, W or B, a stage in two lines, an action that is
/// missing or appears twice, an order in which ranks wait for each other forever.
Schedule schedule_from_csv(std::string_view csv, std::string_view file, std::string_view name);

}  // namespace penstock
