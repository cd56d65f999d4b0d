// SPDX-License-Identifier: Apache-2.0
#pragma once
// A walk through a table under rendezvous semantics: every rank takes its row in order, and stands at an action until
// all that `prerequisites` names holds. Transfers that are launched together are stood at together.

#include <cstddef>
#include <optional>
#include <vector>

#include "schedule/prerequisites.hpp"

namespace penstock {

/// "`rank` stands at `index` of its row and waits for `need`."
struct Wait {
  int rank = 0;
  std::size_t index = 0;
  Need need;
};

/// Waits from one rank to the next. From `cycle` on they close a circle; `cycle == waits.size()` where they do not
/// (the last one waits for a rank that has ended its row).
struct WaitChain {
  std::vector<Wait> waits;
  std::size_t cycle = 0;
};

/// Waits are between pairs and never taken back, so how far the ranks come does not depend on who goes first.
class Walk {
 public:
  /// Every action of the table lies within its stages and microbatches (ActionIds::covers), and on its rank. The
  /// schedule outlives the walk.
  explicit Walk(const Schedule& schedule);

  /// Takes every rank as far as it comes.
  void run();
  /// All rows are at their ends.
  bool finished() const;
  /// The action that a rank stands at, the first of those launched together: an index of its row.
  std::size_t position(int rank) const { return positions_[static_cast<std::size_t>(rank)]; }
  /// After `run`, when not finished: the chain from the lowest rank that waits.
  WaitChain wait_chain() const;

 private:
  bool at_end(int rank) const { return position(rank) == schedule_->row(rank).size(); }
  bool holds(const Need& need) const;
  std::optional<Wait> unmet(int rank) const;
  bool waits(int rank);
  void step(int rank);

  const Schedule* schedule_;
  ActionIds ids_;
  std::vector<char> done_;                    // [ids_.size()]
  std::vector<std::size_t> positions_;        // [pipeline]
  std::vector<std::optional<Need>> awaited_;  // [pipeline], what a rank was last seen to wait for
};

}  // namespace penstock
