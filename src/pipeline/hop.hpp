#pragma once
// What a transfer between two stages takes, measured beside computing.

#include "comm/communicators.hpp"
#include "pipeline/rank_model.hpp"

namespace penstock {

/// Collective over the pipeline axis: seconds from the launch of an activation's send until its receiver can go on, the
/// median of some round trips between neighbours, on the lower one of each pair; 0 on all others. As in a step, the
/// receiver has waited for about `computing_seconds` when the message is sent, and the sender computes on behind it: a
/// wait that has begun to sleep, and a message that needs its sender's help, cost what they cost there. More than 10 ms
/// of computing would change nothing, and is left out: all round trips together take some tenths of a second. Between
/// two steps: the messages lie in the model's idle memory.
double measure_hop(Communicators& communicators, Queue& queue, const RankModel& model, double computing_seconds);

}  // namespace penstock
