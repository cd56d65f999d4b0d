#pragma once
// How many buffers a rank's row needs: counted by walking it.

#include <deque>
#include <limits>
#include <map>
#include <vector>

#include "schedule/schedule.hpp"

namespace penstock {

/// Numbers handed out to keys (microbatches), freed in any order. A freed slot is used again when more than `resting`
/// slots are free, the one that was freed first before the others: what is still being sent from a slot has time to
/// leave it.
class SlotPool {
 public:
  explicit SlotPool(std::size_t resting = 0) : resting_(resting) {}

  /// There are `most` slots in all: free ones do not rest once all were handed out.
  void limit(std::size_t most) { most_ = most; }
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
  std::size_t most_ = std::numeric_limits<std::size_t>::max();
  int slots_ = 0;
};

/// Slots one stage's microbatches take, as the row is walked.
struct StagePools {
  SlotPool activations;  ///< from the input's receive (or F, of the stage before where that is on this rank) to W or B
  SlotPool held;         ///< from I to W; one for each B while it runs
  SlotPool outputs{1};   ///< from F to its send; unused where nothing is sent
  /// From the receive of the output's gradient (or the last stage's I, B) to the send of the input's gradient. Stages
  /// in a chain hand one buffer down: it is the last stage's.
  SlotPool gradients;
};

/// Pools of the stages of a rank. Buffers that are sent from rest for one turn: the next microbatch need not wait for
/// the send.
class RankPools {
 public:
  RankPools() = default;
  /// `lowered`, a lowered schedule or an evaluation's, outlives the pools.
  RankPools(const Schedule& lowered, int rank);

  /// What an action takes before it is launched, and what it frees when it is over. Of transfers that are launched
  /// together, all take before one frees. Actions of the whole step take nothing.
  void take(const Action& action);
  void release(const Action& action);
  StagePools& of(int stage) { return stages_.at(stage); }
  const std::map<int, StagePools>& stages() const { return stages_; }
  /// Whether the neighbour (which need not be there) lives on this rank: then nothing is sent.
  bool is_here(int stage) const { return stages_.contains(stage); }
  /// The last one of the stages that follow each other on this rank, from `stage` on: whose buffers carry their
  /// gradient.
  int end_of_chain(int stage) const;

 private:
  int last_stage_ = 0;
  std::map<int, StagePools> stages_;
};

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

}  // namespace penstock
