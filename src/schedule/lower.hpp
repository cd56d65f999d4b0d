// SPDX-License-Identifier: Apache-2.0
#pragma once
// From a table of computing to the table that is executed: transfers, sums, norm and update come in.

#include "schedule/schedule.hpp"

namespace penstock {

struct LowerOptions {
  /// The first and the last stage share the embedding: T on their two ranks, where these differ.
  bool tied = false;
};

/// Adds to each row: G in front; where a neighbour stage lives on another rank, the transfers between them; R, T (see
/// LowerOptions), N and U behind.
/// Transfers are placed by a clock: the table's computing is timed with F = I = W, without hops. A transfer belongs to
/// the moment in which what it carries is made: its sender launches it there, its receiver when it next comes to a new
/// action. Transfers of the same moment that stand side by side are launched together (Action::joined), so that ranks
/// which all hand on at once do not do so one after the other.
/// Why this cannot hang, whatever actions take in truth: put all ranks' actions in the order of that clock, a transfer
/// being ONE event of its two ranks before what begins in its moment. Every row is a part of this order, and in it
/// everything comes before what needs it; so under rendezvous the first event that has not happened can always happen.
/// Throws InputError where the table is wrong (validate). The table must not be lowered yet.
Schedule lower(const Schedule& schedule, const LowerOptions& options = {});

}  // namespace penstock
