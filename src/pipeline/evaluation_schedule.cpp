// SPDX-License-Identifier: Apache-2.0
#include "pipeline/evaluation_schedule.hpp"

namespace penstock {

Schedule evaluation_schedule(const Schedule& training, int microbatches) {
  Schedule schedule = training;
  schedule.name = "evaluation";
  schedule.microbatches = microbatches;
  for (auto& row : schedule.rows) row = {{.work = Work::gather_parameters}};
  for (int m = 0; m < microbatches; ++m)
    for (int stage = 0; stage < schedule.stages; ++stage) {
      const int rank = schedule.rank_of_stage(stage);
      auto& row = schedule.rows[static_cast<std::size_t>(rank)];
      if (stage > 0 && schedule.rank_of_stage(stage - 1) != rank) row.push_back({Work::receive_activation, stage, m});
      row.push_back({Work::forward, stage, m});
      if (stage + 1 < schedule.stages && schedule.rank_of_stage(stage + 1) != rank)
        row.push_back({Work::send_activation, stage, m});
    }
  for (auto& row : schedule.rows) row.push_back({.work = Work::norm});
  return schedule;
}

}  // namespace penstock
