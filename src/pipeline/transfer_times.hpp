// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a transfer between two stages takes, measured beside computing.

#include "comm/communicators.hpp"
#include "pipeline/rank_model.hpp"

namespace penstock {

/// Seconds. The names are LogP's (Culler et al. 1993), a hop being its latency with the overhead of both ends.
struct TransferTimes {
  double hop = 0;       ///< from the launch of an activation's send until a receiver that waits can go on
  double overhead = 0;  ///< of either end's computing: to launch a send, and to take in what came long before
};

/// Collective over the pipeline axis: medians of some round trips between neighbours, on the lower one of each pair; 0
/// on all others. As in a step, the receiver has waited for about `computing_seconds` when the message is sent, and the
/// sender computes on behind it: a wait that has begun to sleep, and a message that needs its sender's help, cost what
/// they cost there. More than 10 ms of computing would change nothing, and is left out: all round trips together take
/// some tenths of a second. A queue that runs behind the host has no overhead: transfers have lanes of their own.
/// Between two steps: the messages lie in the model's idle memory.
TransferTimes measure_transfers(Communicators& communicators, Queue& queue, const RankModel& model,
                                double computing_seconds);

}  // namespace penstock
