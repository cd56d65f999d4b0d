#pragma once
// How many buffers a rank's row needs: counted by walking it.

#include <deque>
#include <map>
#include <vector>

#include "schedule/schedule.hpp"

namespace penstock {

/// Numbers handed out to keys (microbatches). A freed slot is used again when more than `resting` slots are free, the
/// one that was freed first before the others: what is still being sent from a slot has time to leave it.
class SlotPool {
 public:
  explicit SlotPool(std::size_t resting = 0) : resting_(resting) {}

  /// The key's slot; takes one when it has none.
  int take(int key);
  int of(int key) const;
  bool has(int key) const { return taken_.contains(key); }
  void release(int key);
  /// Slots that were ever handed out.
  int slots() const { return slots_; }

 private:
  std::map<int, int> taken_;
  std::deque<int> free_;  ///< in the order in which they were freed
  std::size_t resting_;
  int slots_ = 0;
};

/// Slots one stage's microbatches take, as the row is walked.
struct StagePools {
  SlotPool activations;  ///< from the input's receive (or F) to the end of W or B
  SlotPool held;         ///< from I to W; one for each B while it runs
  SlotPool outputs;      ///< from F to its send
  SlotPool gradients{
      1};  ///< from the output gradient's receive (or the last stage's I, B) to the input gradient's send
};

/// Pools of a stage. Buffers that are sent from rest for one turn: the next microbatch need not wait for the send.
StagePools stage_pools(const Schedule& schedule, int stage);

/// Slots of a stage over a rank's row.
struct StageNeeds {
  int stage = 0;
  int activations = 0;
  int held = 0;
  int outputs = 0;
  int gradients = 0;
};

/// Needs of each stage in the row of `rank`, ascending by stage. `lowered` must be a lowered schedule.
std::vector<StageNeeds> stage_needs(const Schedule& lowered, int rank);

/// What an action takes before it runs.
void take_slots(const Schedule& schedule, const Action& action, StagePools& pools);
/// What an action frees when it is over.
void release_slots(const Schedule& schedule, const Action& action, StagePools& pools);

}  // namespace penstock
