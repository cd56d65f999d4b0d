// SPDX-License-Identifier: Apache-2.0
#include "schedule/prerequisites.hpp"

namespace penstock {

std::vector<Need> prerequisites(const Action& action, int rank, const Schedule& schedule) {
  std::vector<Need> needs;
  every_prerequisite(action, rank, schedule, [&](const Need& need) {
    needs.push_back(need);
    return true;
  });
  return needs;
}

bool ActionIds::covers(const Action& action) const {
  if (is_whole_step(action.work)) return action.stage == whole_step && action.microbatch == whole_step;
  const auto within = [](int value, int size) { return value >= 0 && value < size; };
  if (is_transfer(action.work) && !within(peer_stage(action), stages_)) return false;
  return within(action.stage, stages_) && within(action.microbatch, microbatches_);
}

std::size_t ActionIds::size() const {
  return work_count * (static_cast<std::size_t>(stages_) * static_cast<std::size_t>(microbatches_) +
                       static_cast<std::size_t>(pipeline_));
}

}  // namespace penstock
