#include "schedule/walk.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace penstock {

Walk::Walk(Schedule schedule)
    : schedule_(std::move(schedule)),
      ids_(schedule_),
      done_(ids_.size(), 0),
      positions_(static_cast<std::size_t>(schedule_.pipeline), 0) {}

bool Walk::holds(const Need& need) const {
  if (done_[ids_.id(need.rank, need.action)]) return true;
  return need.until == Until::posted && !at_end(need.rank) && current(need.rank) == need.action;
}

std::optional<Need> Walk::unmet(int rank) const {
  for (const Need& need : prerequisites(current(rank), rank, schedule_))
    if (!holds(need)) return need;
  return std::nullopt;
}

void Walk::step(int rank) {
  for (const Action& part : parts_of(current(rank))) done_[ids_.id(rank, part)] = 1;
  ++positions_[static_cast<std::size_t>(rank)];
}

void Walk::run() {
  for (bool moved = true; moved;) {
    moved = false;
    for (int rank = 0; rank < schedule_.pipeline; ++rank)
      for (; !at_end(rank) && !unmet(rank); moved = true) step(rank);
  }
}

bool Walk::finished() const {
  for (int rank = 0; rank < schedule_.pipeline; ++rank)
    if (!at_end(rank)) return false;
  return true;
}

WaitChain Walk::wait_chain() const {
  WaitChain chain;
  int rank = 0;
  while (rank < schedule_.pipeline && at_end(rank)) ++rank;
  while (rank < schedule_.pipeline && !at_end(rank)) {
    const auto met =
        std::find_if(chain.waits.begin(), chain.waits.end(), [&](const Wait& w) { return w.rank == rank; });
    if (met != chain.waits.end()) {
      chain.cycle = static_cast<std::size_t>(met - chain.waits.begin());
      return chain;
    }
    const std::optional<Need> need = unmet(rank);
    ensure(need.has_value(), "wait_chain: a rank could go on; run first");
    chain.waits.push_back({rank, position(rank), *need});
    rank = need->rank;
  }
  chain.cycle = chain.waits.size();
  return chain;
}

void Walk::move_here(int rank, const Action& action) {
  std::vector<Action>& row = schedule_.rows[static_cast<std::size_t>(rank)];
  const auto here = row.begin() + static_cast<std::ptrdiff_t>(position(rank));
  const auto found = std::find(here, row.end(), action);
  ensure(found != row.end(), "move_here: the action is not ahead");
  std::rotate(here, found, found + 1);
}

}  // namespace penstock
