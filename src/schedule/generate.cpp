#include "schedule/generate.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace penstock {
namespace {

constexpr std::array<std::string_view, 2> names{"fifo", "1f1b"};  // in the order of ScheduleName
constexpr std::array<std::string_view, 5> planned_names{"ring", "breadth-first", "zb-h1", "zb-h2", "zb-v"};

void check(const ScheduleRequest& request) {
  const std::string_view name = text(request.name);
  if (request.pipeline < 1)
    throw_input_error("schedule {}: {} ranks; a pipeline has at least one rank, use 1 or more", name, request.pipeline);
  if (request.microbatches < 1)
    throw_input_error("schedule {}: {} microbatches; a step has at least one, use 1 or more", name,
                      request.microbatches);
  constexpr std::int64_t most_actions = 1 << 20;
  if (static_cast<std::int64_t>(request.pipeline) * request.microbatches > most_actions)
    throw_input_error(
        "schedule {}: {} ranks x {} microbatches is a table beyond what Penstock plans; use at most {} in all", name,
        request.pipeline, request.microbatches, most_actions);
  if (request.chunks != 1)
    throw_input_error("schedule {}: {} chunks; {} runs one stage a rank, use chunks = 1", name, request.chunks, name);
}

/// Appends the backward of one stage and microbatch.
void add_backward(const ScheduleRequest& request, int stage, int microbatch, std::vector<Action>& row) {
  const bool nobody_waits = stage == 0 || request.pipeline == 1;
  if (request.backward == Backward::fused || nobody_waits) {
    row.push_back({Work::backward, stage, microbatch});
    return;
  }
  row.push_back({Work::input_gradient, stage, microbatch});
  row.push_back({Work::weight_gradient, stage, microbatch});
}

/// Forwards that a rank is ahead of its backwards: its distance to the last stage in 1F1B, all of them in FIFO.
int forwards_ahead(const ScheduleRequest& request, int stage) {
  const int ahead = request.name == ScheduleName::fifo ? request.microbatches : request.pipeline - 1 - stage;
  return std::min(ahead, request.microbatches);
}

/// FIFO and 1F1B are one rule: `ahead` forwards, then a forward (while there are any) and a backward in turn.
/// Backwards go in the order of the forwards, in FIFO too (GPipe has them reversed): the buffers are let go in the
/// order in which they were taken, so a ring of slots serves both, and each weight's gradient is summed over
/// microbatches in the same order in every schedule, which keeps the bits of a step free of the schedule's name.
std::vector<Action> row_of(const ScheduleRequest& request, int stage) {
  std::vector<Action> row;
  int forwards = 0;
  for (; forwards < forwards_ahead(request, stage); ++forwards) row.push_back({Work::forward, stage, forwards});
  for (int backwards = 0; backwards < request.microbatches; ++backwards) {
    if (forwards < request.microbatches) row.push_back({Work::forward, stage, forwards++});
    add_backward(request, stage, backwards, row);
  }
  return row;
}

/// Insertions, deletions and changes of letters between two words (Levenshtein).
int distance(std::string_view from, std::string_view to) {
  std::vector<int> row(to.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < from.size(); ++i) {
    int diagonal = row[0]++;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const int change = diagonal + (from[i] != to[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string_view nearest(std::string_view text) {
  return *std::min_element(names.begin(), names.end(), [&](std::string_view a, std::string_view b) {
    return distance(text, a) < distance(text, b);
  });
}

}  // namespace

Schedule generate(const ScheduleRequest& request) {
  check(request);
  Schedule schedule;
  schedule.name = text(request.name);
  schedule.stages = request.pipeline * request.chunks;
  schedule.pipeline = request.pipeline;
  schedule.microbatches = request.microbatches;
  schedule.placement = looped_placement(schedule.stages, schedule.pipeline);
  for (int rank = 0; rank < request.pipeline; ++rank) schedule.rows.push_back(row_of(request, rank));
  return schedule;
}

ScheduleName parse_schedule_name(std::string_view text) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<ScheduleName>(found - names.begin());
  if (std::find(planned_names.begin(), planned_names.end(), text) != planned_names.end())
    throw_input_error("schedule {}: this version does not generate it yet; use {}", text, fmt::join(names, " or "));
  throw_input_error("schedule '{}': there is no such schedule; there are {}; did you mean {}?", text,
                    fmt::join(names, " and "), nearest(text));
}

std::string_view text(ScheduleName name) { return names[static_cast<std::size_t>(name)]; }

Backward parse_backward(std::string_view text) {
  if (text == "split") return Backward::split;
  if (text == "fused") return Backward::fused;
  throw_input_error("schedule.backward = '{}': there is no such backward; use split or fused", text);
}

std::string_view text(Backward backward) { return backward == Backward::split ? "split" : "fused"; }

}  // namespace penstock
