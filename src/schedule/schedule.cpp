// SPDX-License-Identifier: Apache-2.0
#include "schedule/schedule.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/random.hpp"

namespace penstock {
namespace {

/// +1 if an action begins to hold a microbatch-chunk of the counted kind, -1 if it releases one.
using Change = int (*)(Work);

int activation_change(Work work) {
  if (work == Work::forward) return 1;
  return work == Work::input_gradient || work == Work::backward ? -1 : 0;
}

int deferred_change(Work work) {
  if (work == Work::input_gradient) return 1;
  return work == Work::weight_gradient ? -1 : 0;
}

std::vector<int> peaks(const Schedule& schedule, Change change) {
  std::vector<int> out;
  for (const std::vector<Action>& row : schedule.rows) {
    int held = 0;
    int peak = 0;
    for (const Action& action : row) peak = std::max(peak, held += change(action.work));
    out.push_back(peak);
  }
  return out;
}

}  // namespace

std::vector<int> Schedule::stages_of_rank(int rank) const {
  std::vector<int> out;
  for (int stage = 0; stage < stages; ++stage)
    if (rank_of_stage(stage) == rank) out.push_back(stage);
  return out;
}

std::size_t Schedule::launch_end(int rank, std::size_t index) const {
  const std::vector<Action>& actions = row(rank);
  std::size_t end = index + 1;
  if (is_transfer(actions[index].work))
    while (end < actions.size() && is_transfer(actions[end].work) && actions[end].joined) ++end;
  return end;
}

bool Schedule::sums_tied(int rank) const {
  const int first = rank_of_stage(0);
  const int last = rank_of_stage(stages - 1);
  return tied && first != last && (rank == first || rank == last);
}

std::vector<int> Schedule::peak_activations() const { return peaks(*this, activation_change); }
std::vector<int> Schedule::peak_deferred() const { return peaks(*this, deferred_change); }

std::uint64_t Schedule::hash() const {
  // The hash covers a text, not memory: padding and byte order differ between machines.
  std::string content = fmt::format("{}\n{} {} {} {} {}\n", name, stages, pipeline, microbatches, lowered, tied);
  for (const int rank : placement) content += fmt::format("{} ", rank);
  for (const std::vector<Action>& row : rows) {
    content += '\n';
    for (const Action& action : row) {
      action.append_to(content);
      content += ' ';
    }
  }
  return mix_bits(hash_text(content));
}

std::vector<int> looped_placement(int stages, int pipeline) {
  std::vector<int> placement;
  for (int stage = 0; stage < stages; ++stage) placement.push_back(stage % pipeline);
  return placement;
}

std::vector<int> folded_placement(int pipeline) {
  std::vector<int> placement;
  for (int rank = 0; rank < pipeline; ++rank) placement.push_back(rank);
  for (int rank = pipeline - 1; rank >= 0; --rank) placement.push_back(rank);
  return placement;
}

std::string text(const Schedule& schedule) {
  std::string out;
  for (int rank = 0; rank < schedule.pipeline; ++rank) {
    out += fmt::format("rank {}:", rank);
    for (const Action& action : schedule.row(rank)) out += ' ' + action.text();
    out += '\n';
  }
  return out;
}

std::string row_with_mark(const Schedule& schedule, int rank, std::size_t index) {
  constexpr std::size_t around = 6;
  const std::vector<Action>& row = schedule.row(rank);
  const std::size_t first = index > around ? std::min(index, row.size()) - std::min(around, row.size()) : 0;
  const std::size_t last = std::min(index + around + 1, row.size());
  std::string out = fmt::format("rank {} at {}:{}", rank, index, first > 0 ? " ..." : "");
  for (std::size_t i = first; i < last; ++i)
    out += i == index ? fmt::format(" [{}]", row[i].text()) : fmt::format(" {}", row[i].text());
  if (index >= row.size()) return out + " [end of the row]";
  return out + (last < row.size() ? " ..." : "");
}

}  // namespace penstock
