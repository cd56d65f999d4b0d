// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a table costs, in numbers for people and programs (`penstock schedule --json`, `penstock check`).

#include <cstdint>
#include <string>
#include <vector>

#include "schedule/schedule.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

struct ScheduleReport {
  std::string name;
  int ranks = 1;  // of the pipeline axis
  int stages = 1;
  int microbatches = 1;
  double makespan = 0;                // in the unit of the costs
  double bubble_rate = 0;             // Simulation::bubble_rate
  std::vector<double> idle;           // [ranks], in the unit of the costs
  std::vector<int> peak_activations;  // [ranks], microbatch-chunks from F to the end of I (or B)
  std::vector<int> peak_deferred;     // [ranks], microbatch-chunks from I to W
  std::uint64_t hash = 0;             // of the lowered table
};

/// `simulation` is of this table.
ScheduleReport report(const Schedule& schedule, const Simulation& simulation);

/// A heading, and one line for each rank.
std::string text(const ScheduleReport& report);

}  // namespace penstock
