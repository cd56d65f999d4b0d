// SPDX-License-Identifier: Apache-2.0
#pragma once
// A walk through a table under rendezvous semantics: every rank takes its row in order, and waits at an action until
// everything that `prerequisites` names holds. Transfers that are launched together are waited for together.

#include <cstddef>
#include <optional>
#include <vector>

#include "schedule/prerequisites.hpp"

namespace penstock {

/// "`rank` is at `index` of its row and waits for `need`."
struct Wait {
  int rank = 0;
  std::size_t index = 0;
  Need need;
};

/// Waits from one rank to the next. From `cycle` on they form a cycle; `cycle == waits.size()` if there is none (the
/// last one waits for a rank that has ended its row).
struct WaitChain {
  std::vector<Wait> waits;
  std::size_t cycle = 0;
};

/// Waits are between pairs and are never withdrawn, so the result does not depend on which rank goes first.
class Walk {
 public:
  /// Every action of the table must lie within its stages and microbatches (ActionIds::covers), and on its rank. The
  /// schedule outlives the walk.
  explicit Walk(const Schedule& schedule);

  /// Advances every rank as far as possible.
  void run();
  /// Whether all rows are at their ends.
  bool finished() const;
  /// The action at which a rank is, the first of those launched together: an index of its row.
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
  std::vector<std::optional<Need>> awaited_;  // [pipeline], what a rank was waiting for when last visited
};

}  // namespace penstock
