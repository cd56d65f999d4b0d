// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an action waits for: the one rule that defines a schedule's meaning.

#include <array>
#include <cstdint>
#include <vector>

#include "schedule/schedule.hpp"

namespace penstock {

/// How far the awaited action has to be.
enum class Until : std::uint8_t {
  done,
  posted,  // its rank has come to it: so transfers and sums meet their partners
};

/// "`action` of `rank` must be `until`." B does both I and W, so it meets a need for either, and no need names B.
struct Need {
  int rank = 0;
  Action action;
  Until until = Until::done;
  auto operator<=>(const Need&) const = default;
};

/// Calls visit(need) for everything that `action` of `rank` waits for, apart from its place in the row, until visit
/// returns false. Returns whether it never did. The action can complete once all needs hold.
///   F   G; the receive of its input, or F of the stage before if that is on the same rank
///   I   F of its stage; the receive of its gradient, or I of the next stage if that is on the same rank
///   W   I of its stage                      B   as I
///   F>  F, and its receive to be posted     I>  I, and its receive to be posted
///   F<  its send to be posted               I<  its send to be posted
///   R   every W of the rank                 T   R, and T of the other rank that holds the tied embedding to be posted
///   N   R (T, where there is one), and N of every rank to be posted            U   N          G  nothing
/// That a send waits for its receive is rendezvous: MPI may buffer a message, but need not, and NCCL never does.
/// In a table that is not lowered there are no transfers and whole-step actions, and F and I wait for the other stage's
/// F and I, whatever its rank. Peers of the data and tensor axes run equal rows, so they add nothing here.
/// Works for any action within the schedule's stages and microbatches. Returns no list because a table may have
/// millions of actions and is asked several times.
template <typename Visit>
bool every_prerequisite(const Action& action, int rank, const Schedule& schedule, Visit&& visit) {
  const int stage = action.stage, microbatch = action.microbatch;
  const auto at_stage = [&](Work work, int of_stage, int of_microbatch, Until until = Until::done) {
    return visit(Need{schedule.rank_of_stage(of_stage), Action{work, of_stage, of_microbatch}, until});
  };
  const auto once = [&](int of_rank, Work work, Until until = Until::done) {
    return visit(Need{of_rank, Action{work, whole_step, whole_step}, until});
  };
  // What a neighbouring stage made: through its receive, or directly on the same rank.
  const auto from_neighbour = [&](Work made, Work receive, int neighbour) {
    const bool travels = schedule.lowered && schedule.rank_of_stage(neighbour) != schedule.rank_of_stage(stage);
    return travels ? at_stage(receive, stage, microbatch) : at_stage(made, neighbour, microbatch);
  };
  const auto partner_posted = [&] {
    const Action partner = counterpart(action);
    return at_stage(partner.work, partner.stage, partner.microbatch, Until::posted);
  };
  switch (action.work) {
    case Work::gather_parameters:
      return true;
    case Work::forward:
      return (!schedule.lowered || once(rank, Work::gather_parameters)) &&
             (stage == 0 || from_neighbour(Work::forward, Work::receive_activation, stage - 1));
    case Work::input_gradient:
    case Work::backward:
      return at_stage(Work::forward, stage, microbatch) &&
             (stage + 1 == schedule.stages || from_neighbour(Work::input_gradient, Work::receive_gradient, stage + 1));
    case Work::weight_gradient:
      return at_stage(Work::input_gradient, stage, microbatch);
    case Work::send_activation:
      return at_stage(Work::forward, stage, microbatch) && partner_posted();
    case Work::send_gradient:
      return at_stage(Work::input_gradient, stage, microbatch) && partner_posted();
    case Work::receive_activation:
    case Work::receive_gradient:
      return partner_posted();
    case Work::reduce_gradients:
      for (const int own : schedule.stages_of_rank(rank))
        for (int m = 0; m < schedule.microbatches; ++m)
          if (!at_stage(Work::weight_gradient, own, m)) return false;
      return true;
    case Work::tied_sum:
      if (!once(rank, Work::reduce_gradients)) return false;
      for (const int end : {0, schedule.stages - 1})
        if (const int holder = schedule.rank_of_stage(end); holder != rank)
          if (!once(holder, Work::tied_sum, Until::posted)) return false;
      return true;
    case Work::norm:
      if (!once(rank, schedule.sums_tied(rank) ? Work::tied_sum : Work::reduce_gradients)) return false;
      for (int other = 0; other < schedule.pipeline; ++other)
        if (other != rank && !once(other, Work::norm, Until::posted)) return false;
      return true;
    case Work::update:
      return once(rank, Work::norm);
  }
  return true;
}

/// The same as a list.
std::vector<Need> prerequisites(const Action& action, int rank, const Schedule& schedule);

/// Numbers every (rank, action) of a schedule, for look-ups in plain vectors. Whole-step actions have one number for
/// each rank, all others one number, because they belong to one rank.
class ActionIds {
 public:
  explicit ActionIds(const Schedule& schedule)
      : stages_(schedule.stages), pipeline_(schedule.pipeline), microbatches_(schedule.microbatches) {}
  /// Whether the action lies within the schedule's stages and microbatches.
  bool covers(const Action& action) const;
  std::size_t id(int rank, const Action& action) const {
    const auto work = static_cast<std::size_t>(action.work);
    const auto cells = static_cast<std::size_t>(stages_) * static_cast<std::size_t>(microbatches_);
    if (is_whole_step(action.work))
      return work_count * cells + work * static_cast<std::size_t>(pipeline_) + static_cast<std::size_t>(rank);
    return work * cells + static_cast<std::size_t>(action.stage) * static_cast<std::size_t>(microbatches_) +
           static_cast<std::size_t>(action.microbatch);
  }
  std::size_t size() const;

 private:
  int stages_;
  int pipeline_;
  int microbatches_;
};

/// What an action does: B is I and W, any other is itself.
class Parts {
 public:
  explicit Parts(const Action& action) : parts_{action, action} {
    if (action.work != Work::backward) return;
    parts_[0] = {Work::input_gradient, action.stage, action.microbatch};
    parts_[1] = {Work::weight_gradient, action.stage, action.microbatch};
    size_ = 2;
  }
  const Action* begin() const { return parts_.data(); }
  const Action* end() const { return parts_.data() + size_; }

 private:
  std::array<Action, 2> parts_;
  std::ptrdiff_t size_ = 1;
};

inline Parts parts_of(const Action& action) { return Parts(action); }

}  // namespace penstock
