// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an action has to wait for: the one rule that carries a schedule's meaning.

#include <cstdint>
#include <vector>

#include "schedule/schedule.hpp"

namespace penstock {

/// How far the awaited action has to be.
enum class Until : std::uint8_t {
  done,
  posted,  // its rank has come to it: transfers and sums meet their partners so
};

/// "`action` of `rank` has to be `until`." B does both I and W: a need for either is met by it, so no need names B.
struct Need {
  int rank = 0;
  Action action;
  Until until = Until::done;
  auto operator<=>(const Need&) const = default;
};

/// What `action` of `rank` waits for, besides its place in the row. It completes once all of it holds.
///   F   G; the receive of its input, or F of the stage before where that lives on the same rank
///   I   F of its stage; the receive of its gradient, or I of the next stage where that lives on the same rank
///   W   I of its stage                      B   as I
///   F>  F, and its receive to be posted     I>  I, and its receive to be posted
///   F<  its send to be posted               I<  its send to be posted
///   R   every W of the rank                 T   R, and T of the other rank that holds the tied embedding to be posted
///   N   R (T, where there is one), and N of every rank to be posted            U   N          G  nothing
/// That a send waits for its receive is rendezvous: MPI may buffer a message, but need not, and NCCL never does.
/// In a table that is not lowered there are no transfers and whole-step actions, and F and I wait for the other
/// stage's F and I wherever that lives.
/// Peers of the data and tensor axes run equal rows, so they add nothing here.
/// Works on any action that lies within the schedule's stages and microbatches.
std::vector<Need> prerequisites(const Action& action, int rank, const Schedule& schedule);

/// Numbers every (rank, action) of a schedule's dimensions, for look-ups in plain vectors. Whole-step actions count a
/// rank each, all others once, as they live on one rank.
class ActionIds {
 public:
  explicit ActionIds(const Schedule& schedule)
      : stages_(schedule.stages), pipeline_(schedule.pipeline), microbatches_(schedule.microbatches) {}
  /// Whether the action lies within the schedule's stages and microbatches.
  bool covers(const Action& action) const;
  std::size_t id(int rank, const Action& action) const;
  std::size_t size() const;

 private:
  int stages_;
  int pipeline_;
  int microbatches_;
};

/// B stands for I and W; any other action for itself.
std::vector<Action> parts_of(const Action& action);

}  // namespace penstock
