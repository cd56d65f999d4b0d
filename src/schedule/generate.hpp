#pragma once
// Tables made from a name.

#include <cstdint>
#include <string_view>

#include "schedule/schedule.hpp"

namespace penstock {

enum class ScheduleName : std::uint8_t {
  fifo,                      // "fifo": all forwards, then all backwards. GPipe, arXiv 1811.06965
  one_forward_one_backward,  // "1f1b": PipeDream-Flush, arXiv 2006.09503; Megatron-LM's default, arXiv 2104.04473
};

enum class Backward : std::uint8_t {
  split,  // I, then W: the stage before gets its gradient one W earlier. Fused where nobody waits for I: on stage 0,
          // and everywhere with one rank, as a fused backward hides a product's W behind its I's collective
  fused,  // B everywhere
};

struct ScheduleRequest {
  ScheduleName name = ScheduleName::one_forward_one_backward;
  int pipeline = 1;
  int microbatches = 1;
  int chunks = 1;  // stages a rank
  Backward backward = Backward::split;
};

/// A table of computing for p ranks and m microbatches, in which each stage takes the microbatches in ascending order.
/// Without hops, with equal stages, every rank idles (p-1)(F+I+W) fused and (p-1)(F+I) split; the peak of activations
/// is m on all ranks for fifo and min(p - rank, m) for 1f1b.
/// Throws InputError for sizes below 1, and for chunks other than 1.
Schedule generate(const ScheduleRequest& request);

/// "fifo", "1f1b". Throws InputError for others, naming what there is and the nearest of them.
ScheduleName parse_schedule_name(std::string_view text);
std::string_view text(ScheduleName name);

/// "split", "fused". Throws InputError for others.
Backward parse_backward(std::string_view text);
std::string_view text(Backward backward);

}  // namespace penstock
