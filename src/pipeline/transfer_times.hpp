// SPDX-License-Identifier: Apache-2.0
#pragma once
// The time of a transfer between two stages, measured together with computing.

#include "comm/communicators.hpp"
#include "pipeline/rank_model.hpp"

namespace penstock {

/// Seconds. The names are those of LogP (Culler et al. 1993); a hop is its latency plus the overhead of both ends.
struct TransferTimes {
  double hop = 0;  ///< from the launch of an activation's send until a waiting receiver can continue
  double overhead =
      0;  ///< computing time of either end: to launch a send, or to receive a message that arrived long before
};

/// Collective over the pipeline axis: medians of some round trips between neighbours, on the lower one of each pair; 0
/// on all others. As in a step, the receiver has waited for about `computing_seconds` when the message is sent, and the
/// sender computes afterwards. So a wait that has begun to sleep, and a message that needs its sender's help, cost what
/// they cost in a step. More than 10 ms of computing would change nothing and is left out; all round trips together
/// take some tenths of a second. A queue that runs behind the host has no overhead, because transfers have lanes of
/// their own. Call it between two steps: the messages use the model's idle memory.
TransferTimes measure_transfers(Communicators& communicators, Queue& queue, const RankModel& model,
                                double computing_seconds);

}  // namespace penstock
