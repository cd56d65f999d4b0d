#include "pipeline/slots.hpp"

#include "base/error.hpp"

namespace penstock {

int SlotPool::take(int key) {
  if (const auto found = taken_.find(key); found != taken_.end()) return found->second;
  int slot = slots_;
  if (free_.size() > resting_) {
    slot = free_.front();
    free_.pop_front();
  } else {
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

namespace {

// Whether a transfer stands between the stage and its neighbour.
bool is_elsewhere(const Schedule& schedule, int stage, int neighbour) {
  return neighbour >= 0 && neighbour < schedule.stages &&
         schedule.rank_of_stage(stage) != schedule.rank_of_stage(neighbour);
}

}  // namespace

StagePools stage_pools(const Schedule& schedule, int stage) {
  StagePools pools;
  pools.outputs = SlotPool(1);
  pools.gradients = SlotPool(is_elsewhere(schedule, stage, stage - 1) ? 1 : 0);
  return pools;
}

void take_slots(const Schedule& schedule, const Action& action, StagePools& pools) {
  const int microbatch = action.microbatch;
  switch (action.work) {
    case Work::receive_activation:
      pools.activations.take(microbatch);
      break;
    case Work::forward:
      pools.activations.take(microbatch);
      if (is_elsewhere(schedule, action.stage, action.stage + 1)) pools.outputs.take(microbatch);
      break;
    case Work::receive_gradient:
      pools.gradients.take(microbatch);
      break;
    case Work::input_gradient:
    case Work::backward:
      pools.gradients.take(microbatch);
      pools.held.take(microbatch);
      break;
    default:
      break;
  }
}

void release_slots(const Schedule& schedule, const Action& action, StagePools& pools) {
  const int microbatch = action.microbatch;
  switch (action.work) {
    case Work::send_activation:
      pools.outputs.release(microbatch);
      break;
    case Work::send_gradient:
      pools.gradients.release(microbatch);
      break;
    case Work::weight_gradient:
      pools.held.release(microbatch);
      pools.activations.release(microbatch);
      break;
    case Work::backward:
      pools.held.release(microbatch);
      pools.activations.release(microbatch);
      [[fallthrough]];
    case Work::input_gradient:
      if (!is_elsewhere(schedule, action.stage, action.stage - 1)) pools.gradients.release(microbatch);
      break;
    default:
      break;
  }
}

std::vector<StageNeeds> stage_needs(const Schedule& lowered, int rank) {
  std::map<int, StagePools> pools;
  for (const int stage : lowered.stages_of_rank(rank)) pools.emplace(stage, stage_pools(lowered, stage));
  for (const Action& action : lowered.row(rank)) {
    if (is_whole_step(action.work)) continue;
    take_slots(lowered, action, pools.at(action.stage));
    release_slots(lowered, action, pools.at(action.stage));
  }
  std::vector<StageNeeds> needs;
  for (const auto& [stage, p] : pools)
    needs.push_back({stage, p.activations.slots(), p.held.slots(), p.outputs.slots(), p.gradients.slots()});
  return needs;
}

}  // namespace penstock
