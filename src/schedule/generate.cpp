// SPDX-License-Identifier: Apache-2.0
#include "schedule/generate.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/suggest.hpp"

namespace penstock {
namespace {

// In the order of ScheduleName.
constexpr std::array<std::string_view, 7> names{"fifo", "1f1b", "ring", "breadth-first", "zb-h1", "zb-h2", "zb-v"};

bool is_zero_bubble(ScheduleName name) {
  return name == ScheduleName::zb_h1 || name == ScheduleName::zb_h2 || name == ScheduleName::zb_v;
}

void check_chunks(const ScheduleRequest& request) {
  const std::string_view name = text(request.name);
  const int chunks = chunks_of(request);
  switch (request.name) {
    case ScheduleName::ring:
    case ScheduleName::breadth_first:
      if (chunks < 1)
        throw_input_error("schedule {}: {} chunks; a rank holds at least one stage, use 1 or more", name, chunks);
      return;
    case ScheduleName::zb_v:
      if (chunks != 2)
        throw_input_error(
            "schedule {}: {} chunk{}; it runs the first and the last stages on the same ranks, use chunks = 2", name,
            chunks, chunks == 1 ? "" : "s");
      return;
    default:
      if (chunks != 1)
        throw_input_error("schedule {}: {} chunks; it runs one stage a rank: use chunks = 1, or ring or breadth-first",
                          name, chunks);
  }
}

/// Writes a row. Every stage takes its microbatches in ascending order.
class RowWriter {
 public:
  explicit RowWriter(const ScheduleRequest& request) : request_(request), next_(stages()) {}

  void forward(int stage) { add(Work::forward, stage, next(stage).forward++); }
  void input_gradient(int stage) { add(Work::input_gradient, stage, next(stage).input_gradient++); }
  void weight_gradient(int stage) { add(Work::weight_gradient, stage, next(stage).weight_gradient++); }
  /// I and W, or B if that was asked for or nobody waits for I.
  void backward(int stage) {
    if (request_.backward == Backward::split && stage > 0 && request_.pipeline > 1) {
      input_gradient(stage);
      weight_gradient(stage);
      return;
    }
    add(Work::backward, stage, next(stage).input_gradient++);
    ++next(stage).weight_gradient;
  }

  int forwards(int stage) { return next(stage).forward; }
  int held(int stage) { return next(stage).input_gradient - next(stage).weight_gradient; }
  std::vector<Action> take() { return std::move(actions_); }

 private:
  struct Next {
    int forward = 0;
    int input_gradient = 0;
    int weight_gradient = 0;
  };
  std::size_t stages() const {
    return static_cast<std::size_t>(request_.pipeline) * static_cast<std::size_t>(chunks_of(request_));
  }
  Next& next(int stage) { return next_[static_cast<std::size_t>(stage)]; }
  /// Drops microbatches beyond the last one: a rule may be written for more than there are.
  void add(Work work, int stage, int microbatch) {
    if (microbatch < request_.microbatches) actions_.push_back({work, stage, microbatch});
  }

  const ScheduleRequest& request_;
  std::vector<Next> next_;  // [stages]
  std::vector<Action> actions_;
};

/// The stages of a rank's forwards in their order, `group` microbatches a chunk before the next chunk has its turn.
/// Backwards go through the same groups, from the last chunk to the first. The last group is whole, too: its
/// microbatches beyond the last one are dropped when the row is written (a smaller group can have orders that never
/// end).
struct Turns {
  std::vector<int> forwards, backwards;
};

Turns turns_of(const ScheduleRequest& request, int rank, int group) {
  Turns turns;
  const int chunks = chunks_of(request);
  for (int first = 0; first < request.microbatches; first += group)
    for (int c = 0; c < chunks; ++c)
      for (int i = 0; i < group; ++i) {
        turns.forwards.push_back(c * request.pipeline + rank);
        turns.backwards.push_back((chunks - 1 - c) * request.pipeline + rank);
      }
  return turns;
}

/// Forwards of a rank before its first backward may come. 1F1B: its distance to the last stage. Ring: the chunks before
/// the last one, plus twice the distance, the time until a microbatch comes back to the rank.
int forwards_ahead(const ScheduleRequest& request, int rank) {
  const int behind = request.pipeline - 1 - rank;
  const int chunks = chunks_of(request);
  if (request.name == ScheduleName::ring && chunks > 1) return 2 * behind + (chunks - 1) * request.pipeline;
  return behind;
}

/// `ahead` forwards, then a forward (while there are any) and a backward in turn. Backwards follow the order of the
/// forwards, in FIFO too (GPipe reverses them): buffers are released in the order in which they were taken, and each
/// weight's gradient is summed over microbatches in the same order in every schedule. So the bits of a step do not
/// depend on the schedule's name.
std::vector<Action> row_in_turns(const ScheduleRequest& request, int rank, int group, int ahead) {
  RowWriter row(request);
  const Turns turns = turns_of(request, rank, group);
  std::size_t forwards = 0;
  const auto forward = [&] {
    if (forwards < turns.forwards.size()) row.forward(turns.forwards[forwards++]);
  };
  for (int i = 0; i < ahead; ++i) forward();
  for (const int stage : turns.backwards) {
    forward();
    row.backward(stage);
  }
  return row.take();
}

/// 1F1B whose weight gradients come `late` microbatches after their input gradients. Those left over fill the time at
/// the end, while a rank waits for the gradients of the later ranks. H1 is late by the rank's distance from rank
/// 0, which keeps as many microbatches as 1F1B does on rank 0. H2 has twice as many forwards ahead, so that
/// nobody waits between its first forward and its first backward, and is late by twice the distance.
std::vector<Action> row_with_late_weights(const ScheduleRequest& request, int rank) {
  RowWriter row(request);
  const int times = request.name == ScheduleName::zb_h2 ? 2 : 1;
  const int late = times * rank;
  for (int i = 0; i < std::min(times * (request.pipeline - 1 - rank), request.microbatches); ++i) row.forward(rank);
  for (int m = 0; m < request.microbatches; ++m) {
    row.forward(rank);
    if (late == 0) {
      row.backward(rank);
      continue;
    }
    row.input_gradient(rank);
    if (row.held(rank) > late) row.weight_gradient(rank);
  }
  while (row.held(rank) > 0) row.weight_gradient(rank);
  return row.take();
}

/// A microbatch passes stage `down` = r on the way from rank 0 to the last rank, and `up` = 2p-1-r on the way back: the
/// loss is on rank 0. Written for at least 2p-1 microbatches, which fill the V; with fewer the rest of the rule is
/// dropped.
std::vector<Action> row_of_a_v(const ScheduleRequest& request, int rank) {
  RowWriter row(request);
  const int p = request.pipeline;
  const int down = rank;
  const int up = 2 * p - 1 - rank;
  const int microbatches = std::max(request.microbatches, 2 * p - 1);
  // As many forwards as fit before the first microbatch is back from the last rank, then in turn with its way up.
  for (int i = 0; i < 2 * (p - rank) - 1; ++i) row.forward(down);
  for (int i = 0; i < rank; ++i) {
    row.forward(up);
    row.forward(down);
  }
  for (int i = 0; i < p - rank; ++i) {
    row.forward(up);
    row.backward(up);
  }
  while (row.forwards(up) < microbatches) {
    if (row.forwards(down) < microbatches) row.forward(down);
    row.backward(down);
    row.forward(up);
    row.backward(up);
  }
  // The end: input gradients first, as other ranks wait for them; weight gradients fill what is left.
  for (int i = 0; i < rank; ++i) {
    row.input_gradient(down);
    row.input_gradient(up);
  }
  for (int i = 0; i < p - rank; ++i) {
    if (rank == 0) {
      row.backward(down);
      continue;
    }
    row.input_gradient(down);
    row.weight_gradient(down);
  }
  while (row.held(up) > 0) row.weight_gradient(up);
  while (row.held(down) > 0) row.weight_gradient(down);
  return row.take();
}

std::vector<Action> row_of(const ScheduleRequest& request, int rank) {
  switch (request.name) {
    case ScheduleName::fifo:
    case ScheduleName::breadth_first:
      return row_in_turns(request, rank, request.microbatches, request.microbatches * chunks_of(request));
    case ScheduleName::one_forward_one_backward:
    case ScheduleName::ring:
      return row_in_turns(request, rank, request.pipeline, forwards_ahead(request, rank));
    case ScheduleName::zb_h1:
    case ScheduleName::zb_h2:
      return row_with_late_weights(request, rank);
    case ScheduleName::zb_v:
      return row_of_a_v(request, rank);
  }
  return {};
}

}  // namespace

void check_request(const ScheduleRequest& request) {
  const std::string_view name = text(request.name);
  if (request.pipeline < 1)
    throw_input_error("schedule {}: {} ranks; a pipeline has at least one rank, use 1 or more", name, request.pipeline);
  if (request.microbatches < 1)
    throw_input_error("schedule {}: {} microbatches; a step has at least one, use 1 or more", name,
                      request.microbatches);
  check_chunks(request);
  const std::int64_t chunks = chunks_of(request);
  constexpr std::int64_t most_actions = 1 << 20;
  const auto too_many = [&](std::int64_t cells) { return cells > most_actions; };
  if (too_many(request.pipeline) || too_many(request.microbatches) || too_many(chunks) ||
      too_many(std::int64_t{request.pipeline} * request.microbatches) ||
      too_many(std::int64_t{request.pipeline} * request.microbatches * chunks))
    throw_input_error(
        "schedule {}: {} ranks x {} microbatches x {} chunks is a table beyond what Penstock plans; use at most {} in "
        "all",
        name, request.pipeline, request.microbatches, chunks, most_actions);
  if (is_zero_bubble(request.name) && request.backward == Backward::fused)
    throw_input_error(
        "schedule {}: a fused backward has no weight gradients that could be moved; use backward = split, or 1f1b",
        name);
}

std::optional<int> only_chunks(ScheduleName name) {
  if (name == ScheduleName::ring || name == ScheduleName::breadth_first) return std::nullopt;
  return name == ScheduleName::zb_v ? 2 : 1;
}

int chunks_of(const ScheduleRequest& request) {
  if (request.chunks != 0) return request.chunks;
  return only_chunks(request.name).value_or(1);
}

Schedule generate(const ScheduleRequest& request) {
  check_request(request);
  Schedule schedule;
  schedule.name = text(request.name);
  schedule.stages = request.pipeline * chunks_of(request);
  schedule.pipeline = request.pipeline;
  schedule.microbatches = request.microbatches;
  schedule.placement = request.name == ScheduleName::zb_v ? folded_placement(schedule.pipeline)
                                                          : looped_placement(schedule.stages, schedule.pipeline);
  for (int rank = 0; rank < request.pipeline; ++rank) schedule.rows.push_back(row_of(request, rank));
  return schedule;
}

ScheduleName parse_schedule_name(std::string_view text) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<ScheduleName>(found - names.begin());
  throw_input_error("schedule '{}': there is no such schedule; there are {}; did you mean {}?", text,
                    fmt::join(names, ", "), nearest(text, schedule_names()));
}

std::string_view text(ScheduleName name) { return names[static_cast<std::size_t>(name)]; }

std::vector<std::string> schedule_names() { return {names.begin(), names.end()}; }

Backward parse_backward(std::string_view text) {
  if (text == "split") return Backward::split;
  if (text == "fused") return Backward::fused;
  throw_input_error("schedule.backward = '{}': there is no such backward; use split or fused", text);
}

std::string_view text(Backward backward) { return backward == Backward::split ? "split" : "fused"; }

}  // namespace penstock
