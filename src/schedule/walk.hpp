#pragma once
// A walk through a table under rendezvous semantics: every rank takes its row in order, and stands at an action until
// all that `prerequisites` names holds. `lower` finds the order of transfers by it, `validate` proves it.

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
  /// Every action of the table lies within its stages and microbatches (ActionIds::covers), and on its rank.
  explicit Walk(Schedule schedule);

  const Schedule& schedule() const { return schedule_; }
  /// Takes every rank as far as it comes.
  void run();
  /// All rows are at their ends.
  bool finished() const;
  /// The action that a rank stands at: an index of its row.
  std::size_t position(int rank) const { return positions_[static_cast<std::size_t>(rank)]; }
  /// After `run`, when not finished: the chain from the lowest rank that waits.
  WaitChain wait_chain() const;
  /// Moves an action from further behind in `rank`'s row to where the rank stands.
  void move_here(int rank, const Action& action);

 private:
  bool at_end(int rank) const { return position(rank) == schedule_.row(rank).size(); }
  const Action& current(int rank) const { return schedule_.row(rank)[position(rank)]; }
  bool holds(const Need& need) const;
  std::optional<Need> unmet(int rank) const;
  void step(int rank);

  Schedule schedule_;
  ActionIds ids_;
  std::vector<char> done_;              // [ids_.size()]
  std::vector<std::size_t> positions_;  // [pipeline]
};

}  // namespace penstock
