// SPDX-License-Identifier: Apache-2.0
#pragma once
// Pictures of a simulated table: for the terminal, and SVG.

#include <string>

#include "schedule/schedule.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// One line for each rank, `columns` characters for the makespan. An action begins with its letter and microbatch
/// ("F0"; with several chunks on a rank "2F0") and continues with '-'; '.' is idle time. If an action has too few
/// characters, its letter stays and the microbatch loses its first digits.
std::string draw_text(const Schedule& schedule, const Simulation& simulation, int columns = 100);

/// A standalone SVG: one row for each rank, one box for each action (text form and times in its title), a time axis, a
/// legend.
std::string draw_svg(const Schedule& schedule, const Simulation& simulation);

}  // namespace penstock
