#pragma once
// From a table of computing to the table that is executed: transfers, sums, norm and update come in.

#include "schedule/schedule.hpp"

namespace penstock {

struct LowerOptions {
  /// The first and the last stage share the embedding: T on their two ranks, where these differ.
  bool tied = false;
};

/// Adds to each row: G in front; where a neighbour stage lives on another rank, a send right behind the work that makes
/// what it carries and a receive right before its use; R, T (see LowerOptions), N and U behind.
/// That order alone would hang: in 1F1B's steady state rank r sends an activation to r+1 while r+1 sends a gradient
/// to r, and with rendezvous both wait forever. So `lower` walks the table, and where ranks wait for each other in
/// a circle one of them takes a receive earlier, right before what it stands at; activations first: they were made long
/// before, while a gradient is what its receiver is waiting for. The order it ends with has been walked to its
/// end, and that is its proof for any table, not only the known ones.
/// Throws InputError where the table is wrong (validate). The table must not be lowered yet.
Schedule lower(const Schedule& schedule, const LowerOptions& options = {});

}  // namespace penstock
