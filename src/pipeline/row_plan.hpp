// SPDX-License-Identifier: Apache-2.0
#pragma once
// RowPlan: a rank's row of the table with everything decided before step 1: the memory that each action uses, how much
// of it is needed, and the transfers that an action waits for.

#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "model/stage.hpp"
#include "schedule/schedule.hpp"

namespace penstock {

/// The number of memory places that a row needs, counted by walking it. Those of blocks serve all stages of the rank in
/// turn.
struct RowNeeds {
  struct Buffers {
    int outputs = 0;    ///< from F to its send; a buffer rests for one turn after its send
    int gradients = 0;  ///< from the receive of the output's gradient (or I, B) to the send of the input's; likewise
    bool operator==(const Buffers&) const = default;
  };
  int activations = 0;             ///< of blocks: from F (of the first, from its input's arrival) to W or B
  int held = 0;                    ///< of blocks: from I to W; one for each B while it runs
  StageSlots head;                 ///< of the last stage, if it is on this rank
  std::map<int, Buffers> buffers;  ///< by stage; for consecutive stages on this rank, gradients belong to the last one
  /// Whether the row ever splits a weight gradient from its input gradient.
  BackwardHalves backward = BackwardHalves::fused;
  bool operator==(const RowNeeds&) const = default;
};

/// The stage's output is the input of the next stage, which is here: a place in BlockMemory, of that stage's first
/// block.
struct NextInput {
  int activations = 0;
};
/// The stage's output is sent from one of its buffers.
struct OutputBuffer {
  int buffer = 0;
};
/// A gradient is in a buffer of the last of the stages that follow each other here.
struct GradientBuffer {
  int stage = 0;
  int buffer = 0;
};

/// An action with its memories and transfers.
struct PlannedAction {
  Action action;
  StagePlaces at;  ///< of its microbatch in its stage
  /// F and the send of its output; neither of both on the last stage, which keeps its output among its ends.
  std::variant<std::monostate, NextInput, OutputBuffer> output;
  std::optional<GradientBuffer> gradient;  ///< I, B and transfers of gradients
  std::optional<int> peer;                 ///< transfers: the other end's pipeline rank
  Accumulate accumulate;                   ///< I, W and B: what its gradients do
  bool opens_stage = false;                ///< F: the stage's first in the row, before which nothing reads its weights
  bool closes_stage = false;        ///< W and B: the stage's last in the row, behind which its gradients are whole
  std::vector<std::size_t> awaits;  ///< places in the row of transfers that have to end first
};

class RowPlan {
 public:
  /// `schedule`, lowered or an evaluation's, outlives the plan. `parts`: of all stages. With `given`, existing memory,
  /// it throws LogicError if the row needs more.
  RowPlan(const Schedule& schedule, int rank, const std::vector<StagePart>& parts,
          const std::optional<RowNeeds>& given = {});
  /// Only the needs, without actions: for memory plans, of which there may be thousands.
  static RowPlan of_needs(const Schedule& schedule, int rank, const std::vector<StagePart>& parts);

  const Schedule& schedule() const { return *schedule_; }
  int rank() const { return rank_; }
  std::size_t size() const { return actions_.size(); }
  const PlannedAction& operator[](std::size_t index) const { return actions_[index]; }
  /// The place after the last action that is launched together with `index`.
  std::size_t launch_end(std::size_t index) const { return schedule_->launch_end(rank_, index); }
  const RowNeeds& needs() const { return needs_; }

 private:
  RowPlan() = default;

  const Schedule* schedule_ = nullptr;
  int rank_ = 0;
  std::vector<PlannedAction> actions_;
  RowNeeds needs_;
};

}  // namespace penstock
