// SPDX-License-Identifier: Apache-2.0
#include "schedule/walk.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace penstock {

Walk::Walk(const Schedule& schedule)
    : schedule_(&schedule),
      ids_(schedule),
      done_(ids_.size(), 0),
      positions_(static_cast<std::size_t>(schedule.pipeline), 0),
      awaited_(static_cast<std::size_t>(schedule.pipeline)) {}

bool Walk::holds(const Need& need) const {
  if (done_[ids_.id(need.rank, need.action)]) return true;
  if (need.until != Until::posted || at_end(need.rank)) return false;
  const std::vector<Action>& row = schedule_->row(need.rank);
  const std::size_t end = schedule_->launch_end(need.rank, position(need.rank));
  for (std::size_t i = position(need.rank); i < end; ++i)
    if (same_work(row[i], need.action)) return true;
  return false;
}

std::optional<Wait> Walk::unmet(int rank) const {
  const std::size_t end = schedule_->launch_end(rank, position(rank));
  std::optional<Wait> found;
  for (std::size_t i = position(rank); i < end && !found; ++i)
    every_prerequisite(schedule_->row(rank)[i], rank, *schedule_, [&](const Need& need) {
      if (!holds(need)) found = Wait{rank, i, need};
      return !found;
    });
  return found;
}

// Asks first for what the rank waited for last: most visits end there, however many needs the action has.
bool Walk::waits(int rank) {
  std::optional<Need>& awaited = awaited_[static_cast<std::size_t>(rank)];
  if (awaited && !holds(*awaited)) return true;
  const std::optional<Wait> wait = unmet(rank);
  awaited = wait ? std::optional(wait->need) : std::nullopt;
  return wait.has_value();
}

void Walk::step(int rank) {
  const std::size_t end = schedule_->launch_end(rank, position(rank));
  for (std::size_t i = position(rank); i < end; ++i)
    for (const Action& part : parts_of(schedule_->row(rank)[i])) done_[ids_.id(rank, part)] = 1;
  positions_[static_cast<std::size_t>(rank)] = end;
}

void Walk::run() {
  for (bool moved = true; moved;) {
    moved = false;
    for (int rank = 0; rank < schedule_->pipeline; ++rank)
      for (; !at_end(rank) && !waits(rank); moved = true) step(rank);
  }
}

bool Walk::finished() const {
  for (int rank = 0; rank < schedule_->pipeline; ++rank)
    if (!at_end(rank)) return false;
  return true;
}

WaitChain Walk::wait_chain() const {
  WaitChain chain;
  int rank = 0;
  while (rank < schedule_->pipeline && at_end(rank)) ++rank;
  while (rank < schedule_->pipeline && !at_end(rank)) {
    const auto met =
        std::find_if(chain.waits.begin(), chain.waits.end(), [&](const Wait& w) { return w.rank == rank; });
    if (met != chain.waits.end()) {
      chain.cycle = static_cast<std::size_t>(met - chain.waits.begin());
      return chain;
    }
    const std::optional<Wait> wait = unmet(rank);
    ensure(wait.has_value(), "wait_chain: a rank could go on; run first");
    chain.waits.push_back(*wait);
    rank = wait->need.rank;
  }
  chain.cycle = chain.waits.size();
  return chain;
}

}  // namespace penstock
