// SPDX-License-Identifier: Apache-2.0
#pragma once
// Turns a table of computing into the table that is executed: adds transfers, sums, norm and update.

#include "schedule/schedule.hpp"

namespace penstock {

struct LowerOptions {
  /// The first and the last stage share the embedding: T on their two ranks, where these differ.
  bool tied = false;
};

/// Adds to each row: G at the beginning; transfers to and from neighbouring stages on other ranks; R, T (see
/// LowerOptions), N and U at the end. Transfers are placed by a clock: the table's computing is timed with F = I = W,
/// without hops. A transfer belongs to the moment in which its data is made: its sender launches it there, its receiver
/// when it next comes to a new action. Neighbouring transfers of the same moment are launched together
/// (Action::joined), so ranks that all send at once do not wait for one another. Why this cannot hang, whatever the
/// real times are: put all ranks' actions in the order of that clock, with a transfer as ONE event of its two ranks
/// before the actions that begin in its moment. Every row is a part of this order, and in it everything comes before
/// what needs it; so under rendezvous the first event that has not happened can always happen. Throws InputError if the
/// table is wrong (validate). The table must not be lowered yet.
Schedule lower(const Schedule& schedule, const LowerOptions& options = {});

}  // namespace penstock
