// SPDX-License-Identifier: Apache-2.0
#pragma once
// The proof of a table: each action exactly once, everything before its use, no deadlock.

#include <cstddef>
#include <optional>
#include <string>

#include "schedule/schedule.hpp"

namespace penstock {

/// What is wrong with a table, where, and the cure.
struct Problem {
  int rank = 0;           // the row to look at; -1: the table as a whole, no one place
  std::size_t index = 0;  // the place in it; the row's length where something is missing
  std::string message;
};

/// The first thing wrong with a table, lowered or not, or nothing. It checks
///  - that every action lies within the stages and microbatches, and in the row of its stage's rank;
///  - that the table has each action that the step needs exactly once, and no other. The step needs U on every rank
///    (W of all, where the table is not lowered) and what `prerequisites` reaches from there;
///  - that all rows can end if every rank takes its row in order, a send completes only when its receive is posted
///    (rendezvous: the hardest semantics MPI and NCCL allow), and a rank waits for its transfers where they are in the
///    row (one communication lane, whatever else runs);  - that the messages from one rank to another are received in
///    the order in which they are sent. The message of a deadlock is the chain of waits down to the cycle at its root,
///    with each rank's row.
std::optional<Problem> find_problem(const Schedule& schedule);

/// Throws InputError with the message of `find_problem`.
void validate(const Schedule& schedule);

}  // namespace penstock
