// SPDX-License-Identifier: Apache-2.0
#include "pipeline/row_plan.hpp"

#include <algorithm>
#include <utility>

#include "pipeline/slot_pool.hpp"

namespace penstock {

namespace {

/// Values by a stage here and a number of it: a microbatch, or a buffer. Rows of thousands of actions look up several
/// an action, so that these are arrays.
template <typename T>
class ByStage {
 public:
  ByStage(std::vector<int> stages, T absent)
      : stages_(std::move(stages)), values_(stages_.size()), absent_(std::move(absent)) {}

  T& at(int stage, int number) {
    ensure(number >= 0, "a place for a number below 0");
    std::vector<T>& values = values_.at(index_of(stage));
    const auto n = static_cast<std::size_t>(number);
    if (n >= values.size()) values.resize(std::max(n + 1, 2 * values.size()), absent_);
    return values[n];
  }
  /// What was put there, else `absent`.
  const T& look(int stage, int number) const {
    const std::vector<T>& values = values_.at(index_of(stage));
    const auto n = static_cast<std::size_t>(number);
    return n < values.size() ? values[n] : absent_;
  }

 private:
  std::size_t index_of(int stage) const {
    return static_cast<std::size_t>(std::find(stages_.begin(), stages_.end(), stage) - stages_.begin());
  }

  std::vector<int> stages_;
  std::vector<std::vector<T>> values_;
  T absent_;
};

/// No place in the row.
constexpr std::size_t nowhere = static_cast<std::size_t>(-1);
using PlacesInRow = ByStage<std::size_t>;

class RowPlanner {
 public:
  RowPlanner(const Schedule& schedule, int rank, const std::vector<StagePart>& parts,
             const std::optional<RowNeeds>& given)
      : schedule_(schedule), rank_(rank), parts_(parts), stages_(schedule.stages_of_rank(rank)) {
    for (const Action& action : schedule.row(rank)) {
      goes_back_ |= action.work == Work::input_gradient || action.work == Work::backward;
      if (action.work == Work::input_gradient) backward_ = BackwardHalves::input_only;
    }
    if (given) {
      activations_ = SlotPool(0, given->activations);
      held_ = SlotPool(0, given->held);
      ends_ = SlotPool(0, given->head.ends);
      heads_ = SlotPool(0, given->head.held);
    }
    for (const int stage : stages_) {
      const auto pool = [&](bool sends, int RowNeeds::Buffers::*count) {
        return given ? SlotPool(sends, given->buffers.at(stage).*count) : SlotPool(sends);
      };
      outputs_.emplace(stage, pool(true, &RowNeeds::Buffers::outputs));
      gradients_.emplace(stage, pool(sends_gradients_of_chain(stage), &RowNeeds::Buffers::gradients));
    }
  }

  /// Without `keep` only the needs are counted.
  std::vector<PlannedAction> plan(bool keep) {
    const std::vector<Action>& row = schedule_.row(rank_);
    std::vector<PlannedAction> planned;
    for (std::size_t begin = 0; begin < row.size();) {
      const std::size_t end = schedule_.launch_end(rank_, begin);
      // Of transfers that are launched together, all take memory before one frees it.
      for (std::size_t i = begin; i < end; ++i) take(row[i]);
      for (std::size_t i = begin; keep && i < end; ++i) planned.push_back(planned_action(row[i]));
      for (std::size_t i = begin; i < end; ++i) release(row[i]);
      for (std::size_t i = begin; keep && i < end; ++i) remember(planned[i], i);
      begin = end;
    }
    mark_ends_of_stages(planned);
    return planned;
  }

  RowNeeds needs() const {
    RowNeeds needs{.activations = activations_.slots(),
                   .held = held_.slots(),
                   .head = {.ends = ends_.slots(), .held = heads_.slots()},
                   .buffers = {},
                   .backward = backward_};
    for (const auto& [stage, pool] : outputs_)
      needs.buffers[stage] = {.outputs = pool.slots(), .gradients = gradients_.at(stage).slots()};
    return needs;
  }

 private:
  static void mark_ends_of_stages(std::vector<PlannedAction>& row) {
    std::map<int, PlannedAction*> first, last;
    for (PlannedAction& planned : row) {
      const auto& [work, stage, microbatch, joined] = planned.action;
      if (work == Work::forward) first.try_emplace(stage, &planned);
      if (work == Work::weight_gradient || work == Work::backward) last[stage] = &planned;
    }
    for (const auto& [stage, planned] : first) planned->opens_stage = true;
    for (const auto& [stage, planned] : last) planned->closes_stage = true;
  }

  /// The memory of a microbatch in a stage.
  struct InFlight {
    StagePlaces at;
    std::optional<int> output;    ///< a buffer of the stage
    std::optional<int> gradient;  ///< likewise; kept by the last stage of a chain
  };

  bool is_here(int stage) const {
    return stage >= 0 && stage < schedule_.stages && schedule_.rank_of_stage(stage) == rank_;
  }
  int end_of_chain(int stage) const {
    while (is_here(stage + 1)) ++stage;
    return stage;
  }
  /// Whether the chain that ends here begins with a stage that sends its gradient.
  bool sends_gradients_of_chain(int end) const {
    int first = end;
    while (is_here(first - 1)) --first;
    return first > 0;
  }
  const StagePart& part(int stage) const { return parts_.at(static_cast<std::size_t>(stage)); }
  InFlight& of(const Action& action) { return in_flight_.at(action.stage, action.microbatch); }
  InFlight& chain_of(const Action& action) { return in_flight_.at(end_of_chain(action.stage), action.microbatch); }

  static void take_once(std::optional<int>& slot, SlotPool& pool) {
    if (!slot) slot = pool.take();
  }
  static void release_one(std::optional<int>& slot, SlotPool& pool) {
    pool.release(std::exchange(slot, std::nullopt).value());
  }
  void take_blocks(int stage, int microbatch, int count) {
    std::vector<int>& blocks = in_flight_.at(stage, microbatch).at.activations;
    while (static_cast<int>(blocks.size()) < count) blocks.push_back(activations_.take());
  }

  void take(const Action& action) {
    const auto& [work, stage, microbatch, joined] = action;
    switch (work) {
      case Work::receive_activation:
        return take_blocks(stage, microbatch, 1);
      case Work::forward:
        take_blocks(stage, microbatch, part(stage).blocks);
        if (part(stage).head) take_once(of(action).at.end, ends_);
        if (is_here(stage + 1))
          take_blocks(stage + 1, microbatch, 1);  // the output is its first block's input
        else if (!part(stage).head)
          take_once(of(action).output, outputs_.at(stage));
        return;
      case Work::receive_gradient:
        return take_once(chain_of(action).gradient, gradients_.at(end_of_chain(stage)));
      case Work::input_gradient:
      case Work::backward:
        take_once(chain_of(action).gradient, gradients_.at(end_of_chain(stage)));
        return take_held(action);
      default:
        return;
    }
  }

  void take_held(const Action& action) {
    StagePlaces& at = of(action).at;
    const auto blocks = static_cast<std::size_t>(part(action.stage).blocks);
    if (action.work == Work::backward)
      at.held.assign(blocks, held_.take());  // each block is finished with it before the next one begins
    else
      while (at.held.size() < blocks) at.held.push_back(held_.take());
    if (part(action.stage).head) take_once(at.head, heads_);
  }

  void release(const Action& action) {
    switch (action.work) {
      case Work::send_activation:
        return release_one(of(action).output, outputs_.at(action.stage));
      case Work::send_gradient:
        return release_one(chain_of(action).gradient, gradients_.at(end_of_chain(action.stage)));
      case Work::forward:
        return goes_back_ ? void() : release_kept(action);
      case Work::input_gradient:
        return release_gradient(action);
      case Work::backward:
        release_gradient(action);
        [[fallthrough]];
      case Work::weight_gradient:
        release_held(action);
        return release_kept(action);
      default:
        return;
    }
  }

  /// If nobody waits for the gradient, it is not sent.
  void release_gradient(const Action& action) {
    if (part(action.stage).head) release_one(of(action).at.end, ends_);
    if (action.stage == 0) release_one(chain_of(action).gradient, gradients_.at(end_of_chain(0)));
  }
  void release_held(const Action& action) {
    StagePlaces& at = of(action).at;
    at.held.resize(action.work == Work::backward ? 1 : at.held.size());
    for (const int slot : at.held) held_.release(slot);
    at.held.clear();
    if (part(action.stage).head) release_one(at.head, heads_);
  }
  void release_kept(const Action& action) {
    StagePlaces& at = of(action).at;
    for (const int slot : at.activations) activations_.release(slot);
    at.activations.clear();
    if (at.end) release_one(at.end, ends_);
  }

  PlannedAction planned_action(const Action& action) {
    PlannedAction planned;
    planned.action = action;
    if (is_whole_step(action.work)) return planned;
    planned.at = of(action).at;
    if (const std::optional<int> buffer = of(action).output) planned.output = OutputBuffer{*buffer};
    if (action.work == Work::forward && is_here(action.stage + 1))
      planned.output = NextInput{in_flight_.at(action.stage + 1, action.microbatch).at.activations.front()};
    if (const std::optional<int> buffer = chain_of(action).gradient)
      planned.gradient = GradientBuffer{.stage = end_of_chain(action.stage), .buffer = *buffer};
    if (is_transfer(action.work)) planned.peer = schedule_.rank_of_stage(peer_stage(action));
    planned.accumulate = accumulate(action);
    planned.awaits = awaited(planned);
    return planned;
  }

  /// Only the first gradients of each kind of a stage in the row have nothing to add to.
  Accumulate accumulate(const Action& action) {
    Accumulate& next =
        accumulate_.try_emplace(action.stage, Accumulate{.norms = false, .products = false}).first->second;
    const Accumulate now = next;
    next.norms |= action.work == Work::input_gradient || action.work == Work::backward;
    next.products |= action.work == Work::weight_gradient || action.work == Work::backward;
    return now;
  }

  /// The action waits until its inputs have arrived, and until messages from buffers that it overwrites have left.
  std::vector<std::size_t> awaited(const PlannedAction& planned) const {
    const Action& action = planned.action;
    std::vector<std::size_t> awaits;
    const auto await = [&](const PlacesInRow& transfers, int stage, int which) {
      if (const std::size_t place = transfers.look(stage, which); place != nowhere) awaits.push_back(place);
    };
    switch (action.work) {
      case Work::forward:
        await(received_inputs_, action.stage, action.microbatch);
        if (const auto* output = std::get_if<OutputBuffer>(&planned.output))
          await(sent_outputs_, action.stage, output->buffer);
        break;
      case Work::input_gradient:
      case Work::backward:
        await(received_gradients_, action.stage, action.microbatch);
        [[fallthrough]];
      case Work::receive_gradient:
        await(sent_gradients_, planned.gradient.value().stage, planned.gradient.value().buffer);
        break;
      default:
        break;
    }
    return awaits;
  }

  void remember(const PlannedAction& planned, std::size_t place) {
    const Action& action = planned.action;
    switch (action.work) {
      case Work::receive_activation:
        received_inputs_.at(action.stage, action.microbatch) = place;
        break;
      case Work::receive_gradient:
        received_gradients_.at(action.stage, action.microbatch) = place;
        break;
      case Work::send_activation:
        sent_outputs_.at(action.stage, std::get<OutputBuffer>(planned.output).buffer) = place;
        break;
      case Work::send_gradient:
        sent_gradients_.at(planned.gradient.value().stage, planned.gradient.value().buffer) = place;
        break;
      default:
        break;
    }
  }

  const Schedule& schedule_;
  int rank_;
  const std::vector<StagePart>& parts_;
  std::vector<int> stages_;  ///< here
  bool goes_back_ = false;   ///< the row has a backward pass
  BackwardHalves backward_ = BackwardHalves::fused;
  SlotPool activations_, held_, ends_, heads_;
  std::map<int, SlotPool> outputs_, gradients_;       ///< by stage
  std::map<int, Accumulate> accumulate_;              ///< by stage: whether the next action's gradients add
  ByStage<InFlight> in_flight_{stages_, {}};          ///< by microbatch
  PlacesInRow received_inputs_{stages_, nowhere};     ///< by microbatch
  PlacesInRow received_gradients_{stages_, nowhere};  ///< by microbatch
  PlacesInRow sent_outputs_{stages_, nowhere};        ///< by buffer
  PlacesInRow sent_gradients_{stages_, nowhere};      ///< by buffer
};

}  // namespace

RowPlan::RowPlan(const Schedule& schedule, int rank, const std::vector<StagePart>& parts,
                 const std::optional<RowNeeds>& given)
    : schedule_(&schedule), rank_(rank) {
  RowPlanner planner(schedule, rank, parts, given);
  actions_ = planner.plan(true);
  needs_ = planner.needs();
}

RowPlan RowPlan::of_needs(const Schedule& schedule, int rank, const std::vector<StagePart>& parts) {
  RowPlan plan;
  plan.schedule_ = &schedule;
  plan.rank_ = rank;
  RowPlanner planner(schedule, rank, parts, {});
  planner.plan(false);
  plan.needs_ = planner.needs();
  return plan;
}

}  // namespace penstock
