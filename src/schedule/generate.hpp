// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tables made from a name.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "schedule/schedule.hpp"

namespace penstock {

enum class ScheduleName : std::uint8_t {
  fifo,                      // "fifo": all forwards, then all backwards. GPipe, arXiv 1811.06965
  one_forward_one_backward,  // "1f1b": PipeDream-Flush, arXiv 2006.09503; Megatron-LM's default, arXiv 2104.04473
  ring,                      // "ring": interleaved 1F1B, the last rank sends to the first. arXiv 2104.04473
  breadth_first,             // "breadth-first": FIFO, chunk by chunk. arXiv 2211.05953
  zb_h1,                     // "zb-h1": weight gradients fill the end, with 1F1B's memory. arXiv 2401.10241
  zb_h2,                     // "zb-h2": about twice the memory, idle only until the first microbatch has come
  zb_v,                      // "zb-v": rank r has stages r and 2p-1-r, with 1F1B's memory. arXiv 2401.10241, section 6
};

enum class Backward : std::uint8_t {
  split,  // I, then W: the stage before gets its gradient one W earlier. Fused where nobody waits for I: on stage 0,
          // and everywhere with one rank, where a product's W can hide the collective of its I
  fused,  // B everywhere; not with the zero-bubble schedules, which move W away from I
};

struct ScheduleRequest {
  ScheduleName name = ScheduleName::one_forward_one_backward;
  int pipeline = 1;
  int microbatches = 1;
  int chunks = 0;  // stages a rank; 0: what the schedule is made for, 2 with zb-v, else 1
  Backward backward = Backward::split;
};

/// A table of computing for p ranks, v chunks a rank and any number m of microbatches. Each stage takes the
/// microbatches in ascending order in its forwards, backwards and weight gradients, so the bits of a step do not depend
/// on the schedule's name. With equal stages, no hops, and F, I, W as the times of all stages of a rank, every rank
/// idles
///   fifo, 1f1b   (p-1)(F+I+W) fused, (p-1)(F+I) split
///   ring         that / v where p divides m (split: W <= F)
///   breadth-first that / v for m >= p (split: W <= F)
///   zb-h1        (p-1)(F+I-W) for m >= p, W <= I
///   zb-h2        (p-1)F for m >= 2p-1 at F = I = W: what the last rank waits for its first microbatch
///   zb-v         (p-1)F/2 for m >= 2p-1 at F = I = W, likewise
/// The peak of activations, in microbatches of one stage, is m on all ranks for fifo (v m for breadth-first),
/// min(p - rank, m) for 1f1b and zb-h1, min(2(p - rank) - 1, m) for zb-h2, and at most 2p for zb-v, whose stages are
/// half as large.
/// Throws InputError for sizes below 1, for chunks that the schedule does not run, and for zero-bubble schedules with a
/// fused backward.
Schedule generate(const ScheduleRequest& request);

/// Throws InputError where `generate` would, without making the table.
void check_request(const ScheduleRequest& request);

/// The only number of stages per rank that a schedule can have; nothing if it can have any.
std::optional<int> only_chunks(ScheduleName name);

/// Stages per rank in the table of a request.
int chunks_of(const ScheduleRequest& request);

/// "fifo", "1f1b", ... Throws InputError for others, naming the known ones and the nearest.
ScheduleName parse_schedule_name(std::string_view text);
std::string_view text(ScheduleName name);
/// All names, in the order of ScheduleName.
std::vector<std::string> schedule_names();

/// "split", "fused". Throws InputError for others.
Backward parse_backward(std::string_view text);
std::string_view text(Backward backward);

}  // namespace penstock
