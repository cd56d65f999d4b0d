#include "pipeline/slots.hpp"

#include "base/error.hpp"

namespace penstock {

int SlotPool::take(int key) {
  if (const auto found = taken_.find(key); found != taken_.end()) return found->second;
  const bool all_used = static_cast<std::size_t>(slots_) == most_;
  int slot = slots_;
  if (free_.size() > resting_ || (all_used && !free_.empty())) {
    slot = free_.front();
    free_.pop_front();
  } else {
    ensure(!all_used, "the schedule uses more slots than were planned");
    ++slots_;
  }
  taken_.emplace(key, slot);
  return slot;
}

int SlotPool::of(int key) const {
  const auto found = taken_.find(key);
  ensure(found != taken_.end(), "the schedule uses a slot before it was taken");
  return found->second;
}

void SlotPool::release(int key) {
  const auto found = taken_.find(key);
  ensure(found != taken_.end(), "the schedule frees a slot that was not taken");
  free_.push_back(found->second);
  taken_.erase(found);
}

RankPools::RankPools(const Schedule& lowered, int rank) : last_stage_(lowered.stages - 1) {
  for (const int stage : lowered.stages_of_rank(rank)) stages_[stage];
  for (const int stage : lowered.stages_of_rank(rank))
    if (stage > 0 && !is_here(stage - 1)) stages_[end_of_chain(stage)].gradients = SlotPool(1);
}

int RankPools::end_of_chain(int stage) const {
  while (is_here(stage + 1)) ++stage;
  return stage;
}

void RankPools::take(const Action& action) {
  const int stage = action.stage;
  const int microbatch = action.microbatch;
  switch (action.work) {
    case Work::receive_activation:
      of(stage).activations.take(microbatch);
      break;
    case Work::forward:
      of(stage).activations.take(microbatch);
      if (is_here(stage + 1))
        of(stage + 1).activations.take(microbatch);  // the output is that stage's input
      else if (stage < last_stage_)
        of(stage).outputs.take(microbatch);
      break;
    case Work::receive_gradient:
      of(stage).gradients.take(microbatch);
      break;
    case Work::input_gradient:
    case Work::backward:
      of(end_of_chain(stage)).gradients.take(microbatch);
      of(stage).held.take(microbatch);
      break;
    default:
      break;
  }
}

void RankPools::release(const Action& action) {
  const int stage = action.stage;
  const int microbatch = action.microbatch;
  switch (action.work) {
    case Work::send_activation:
      of(stage).outputs.release(microbatch);
      break;
    case Work::send_gradient:
      of(end_of_chain(stage)).gradients.release(microbatch);
      break;
    case Work::weight_gradient:
      of(stage).held.release(microbatch);
      of(stage).activations.release(microbatch);
      break;
    case Work::backward:
      of(stage).held.release(microbatch);
      of(stage).activations.release(microbatch);
      [[fallthrough]];
    case Work::input_gradient:
      if (stage == 0) of(end_of_chain(stage)).gradients.release(microbatch);
      break;
    default:
      break;
  }
}

std::vector<StageNeeds> stage_needs(const Schedule& lowered, int rank) {
  RankPools pools(lowered, rank);
  const std::vector<Action>& row = lowered.row(rank);
  for (std::size_t begin = 0; begin < row.size();) {
    const std::size_t end = lowered.launch_end(rank, begin);
    for (std::size_t i = begin; i < end; ++i) pools.take(row[i]);
    for (std::size_t i = begin; i < end; ++i) pools.release(row[i]);
    begin = end;
  }
  std::vector<StageNeeds> needs;
  for (const auto& [stage, p] : pools.stages())
    needs.push_back({stage, p.activations.slots(), p.held.slots(), p.outputs.slots(), p.gradients.slots()});
  return needs;
}

}  // namespace penstock
