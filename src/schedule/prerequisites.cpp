// SPDX-License-Identifier: Apache-2.0
#include "schedule/prerequisites.hpp"

namespace penstock {
namespace {

Need at_stage(const Schedule& schedule, Work work, int stage, int microbatch, Until until = Until::done) {
  return {schedule.rank_of_stage(stage), Action{work, stage, microbatch}, until};
}

Need once(int rank, Work work, Until until = Until::done) {
  return {rank, Action{work, whole_step, whole_step}, until};
}

/// What a neighbour stage made: by its receive, or straight from where it was made.
Need from_neighbour(const Schedule& schedule, const Action& action, Work made, Work receive, int neighbour) {
  const bool travels = schedule.lowered && schedule.rank_of_stage(neighbour) != schedule.rank_of_stage(action.stage);
  return travels ? at_stage(schedule, receive, action.stage, action.microbatch)
                 : at_stage(schedule, made, neighbour, action.microbatch);
}

std::vector<Need> needs_of_forward(const Action& action, int rank, const Schedule& schedule) {
  std::vector<Need> needs;
  if (schedule.lowered) needs.push_back(once(rank, Work::gather_parameters));
  if (action.stage > 0)
    needs.push_back(from_neighbour(schedule, action, Work::forward, Work::receive_activation, action.stage - 1));
  return needs;
}

std::vector<Need> needs_of_input_gradient(const Action& action, const Schedule& schedule) {
  std::vector<Need> needs{at_stage(schedule, Work::forward, action.stage, action.microbatch)};
  if (action.stage + 1 < schedule.stages)
    needs.push_back(from_neighbour(schedule, action, Work::input_gradient, Work::receive_gradient, action.stage + 1));
  return needs;
}

Need partner_posted(const Action& transfer, const Schedule& schedule) {
  const Action partner = counterpart(transfer);
  return at_stage(schedule, partner.work, partner.stage, partner.microbatch, Until::posted);
}

std::vector<Need> needs_of_reduction(int rank, const Schedule& schedule) {
  std::vector<Need> needs;
  for (const int stage : schedule.stages_of_rank(rank))
    for (int microbatch = 0; microbatch < schedule.microbatches; ++microbatch)
      needs.push_back(at_stage(schedule, Work::weight_gradient, stage, microbatch));
  return needs;
}

std::vector<Need> needs_of_tied_sum(int rank, const Schedule& schedule) {
  std::vector<Need> needs{once(rank, Work::reduce_gradients)};
  for (const int stage : {0, schedule.stages - 1})
    if (const int holder = schedule.rank_of_stage(stage); holder != rank)
      needs.push_back(once(holder, Work::tied_sum, Until::posted));
  return needs;
}

std::vector<Need> needs_of_norm(int rank, const Schedule& schedule) {
  std::vector<Need> needs{once(rank, schedule.sums_tied(rank) ? Work::tied_sum : Work::reduce_gradients)};
  for (int other = 0; other < schedule.pipeline; ++other)
    if (other != rank) needs.push_back(once(other, Work::norm, Until::posted));
  return needs;
}

}  // namespace

std::vector<Need> prerequisites(const Action& action, int rank, const Schedule& schedule) {
  const auto own = [&](Work work) { return at_stage(schedule, work, action.stage, action.microbatch); };
  switch (action.work) {
    case Work::gather_parameters:
      return {};
    case Work::forward:
      return needs_of_forward(action, rank, schedule);
    case Work::input_gradient:
    case Work::backward:
      return needs_of_input_gradient(action, schedule);
    case Work::weight_gradient:
      return {own(Work::input_gradient)};
    case Work::send_activation:
      return {own(Work::forward), partner_posted(action, schedule)};
    case Work::send_gradient:
      return {own(Work::input_gradient), partner_posted(action, schedule)};
    case Work::receive_activation:
    case Work::receive_gradient:
      return {partner_posted(action, schedule)};
    case Work::reduce_gradients:
      return needs_of_reduction(rank, schedule);
    case Work::tied_sum:
      return needs_of_tied_sum(rank, schedule);
    case Work::norm:
      return needs_of_norm(rank, schedule);
    case Work::update:
      return {once(rank, Work::norm)};
  }
  return {};
}

bool ActionIds::covers(const Action& action) const {
  if (is_whole_step(action.work)) return action.stage == whole_step && action.microbatch == whole_step;
  const auto within = [](int value, int size) { return value >= 0 && value < size; };
  if (is_transfer(action.work) && !within(peer_stage(action), stages_)) return false;
  return within(action.stage, stages_) && within(action.microbatch, microbatches_);
}

std::size_t ActionIds::id(int rank, const Action& action) const {
  const auto work = static_cast<std::size_t>(action.work);
  const auto cells = static_cast<std::size_t>(stages_) * static_cast<std::size_t>(microbatches_);
  if (is_whole_step(action.work))
    return work_count * cells + work * static_cast<std::size_t>(pipeline_) + static_cast<std::size_t>(rank);
  return work * cells + static_cast<std::size_t>(action.stage) * static_cast<std::size_t>(microbatches_) +
         static_cast<std::size_t>(action.microbatch);
}

std::size_t ActionIds::size() const {
  return work_count * (static_cast<std::size_t>(stages_) * static_cast<std::size_t>(microbatches_) +
                       static_cast<std::size_t>(pipeline_));
}

std::vector<Action> parts_of(const Action& action) {
  if (action.work != Work::backward) return {action};
  return {Action{Work::input_gradient, action.stage, action.microbatch},
          Action{Work::weight_gradient, action.stage, action.microbatch}};
}

}  // namespace penstock
