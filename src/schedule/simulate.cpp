// SPDX-License-Identifier: Apache-2.0
#include "schedule/simulate.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <numeric>
#include <optional>

#include "base/error.hpp"
#include "schedule/prerequisites.hpp"

namespace penstock {
namespace {

double cost(const Action& action, const Costs& costs) {
  if (is_whole_step(action.work)) {
    const auto found = costs.whole_step.find(action.work);
    return found == costs.whole_step.end() ? 0 : found->second;
  }
  if (is_transfer(action.work)) return 0;
  const StageCosts& stage = costs.stages[static_cast<std::size_t>(action.stage)];
  switch (action.work) {
    case Work::forward:
      return stage.forward;
    case Work::input_gradient:
      return stage.input_gradient;
    case Work::weight_gradient:
      return stage.weight_gradient;
    default:
      return stage.input_gradient + stage.weight_gradient;
  }
}

void check_cost(const char* name, double seconds) {
  if (!(seconds >= 0 && seconds <= most_cost))
    throw_input_error("cost {} = {}: a cost is a number from 0 to {:g}; correct it", name, seconds, most_cost);
}

void check(const Schedule& schedule, const Costs& costs) {
  ensure(schedule.lowered, "simulate: the table is not lowered");
  ensure(costs.stages.size() == static_cast<std::size_t>(schedule.stages), "simulate: costs for each stage");
  check_cost("hop", costs.hop);
  check_cost("overhead", costs.overhead);
  for (const auto& [work, seconds] : costs.whole_step) check_cost(std::string(name(work)).c_str(), seconds);
  double sum = 0;
  for (const StageCosts& stage : costs.stages) {
    check_cost("forward", stage.forward);
    check_cost("input gradient", stage.input_gradient);
    check_cost("weight gradient", stage.weight_gradient);
    sum += stage.sum();
  }
  if (sum <= 0) throw_input_error("the costs are all 0: nothing takes time; give at least one a time");
}

/// The clock of one simulation: each rank advances through its row as far as the times of its needs are known.
class Clock {
 public:
  Clock(const Schedule& schedule, const Costs& costs)
      : schedule_(schedule),
        costs_(costs),
        ids_(schedule),
        posted_(ids_.size(), unknown),
        done_(ids_.size(), unknown),
        free_(schedule.rows.size(), 0.0),
        waiting_for_(schedule.rows.size()),
        spans_(schedule.rows.size()) {
    for (std::size_t rank = 0; rank < spans_.size(); ++rank) spans_[rank].reserve(schedule.rows[rank].size());
  }

  // A rank that waits for another is visited again when that one has advanced.
  std::vector<std::vector<Span>> run() {
    std::deque<int> ready(spans_.size());
    std::iota(ready.begin(), ready.end(), 0);
    for (; !ready.empty(); ready.pop_front()) {
      const int rank = ready.front();
      came_further_ = false;
      while (advance(rank)) continue;
      if (!came_further_) continue;
      std::vector<int>& waiting = waiting_for_[static_cast<std::size_t>(rank)];
      ready.insert(ready.end(), waiting.begin(), waiting.end());
      waiting.clear();
    }
    for (std::size_t rank = 0; rank < spans_.size(); ++rank)
      ensure(spans_[rank].size() == schedule_.rows[rank].size(), "simulate: the table is not valid");
    return std::move(spans_);
  }

 private:
  static constexpr double unknown = -1;

  /// Performs the next action of the rank's row, if all times that it needs are known.
  bool advance(int rank) {
    std::vector<Span>& spans = spans_[static_cast<std::size_t>(rank)];
    if (spans.size() == schedule_.row(rank).size()) return false;
    post_sends(rank, spans.size());
    const Action& action = schedule_.row(rank)[spans.size()];
    const std::optional<Span> span = span_of(action, rank);
    if (!span) return false;
    for (const Action& part : parts_of(action)) done_[ids_.id(rank, part)] = span->end;
    double& free = free_[static_cast<std::size_t>(rank)];
    if (is_send(action.work)) free += costs_.overhead;
    if (!is_transfer(action.work)) free = span->end;
    spans.push_back(*span);
    came_further_ = true;
    return true;
  }

  /// The sends that are launched together with a transfer do not wait for it.
  void post_sends(int rank, std::size_t index) {
    if (!is_transfer(schedule_.row(rank)[index].work)) return;
    for (std::size_t i = index + 1; i < schedule_.launch_end(rank, index); ++i)
      if (const Action& action = schedule_.row(rank)[i]; is_send(action.work)) span_of(action, rank);
  }

  std::optional<Span> span_of(const Action& action, int rank) {
    // Transfers have a lane of their own: they wait only for their data.
    double ready = is_transfer(action.work) ? 0 : free_[static_cast<std::size_t>(rank)] + taking_in(action, rank);
    const auto wait = [&](const Need& need, double time) {
      if (time == unknown) waiting_for_[static_cast<std::size_t>(need.rank)].push_back(rank);
      ready = std::max(ready, time);
      return time != unknown;
    };
    const auto wait_for = [&](Until until, const std::vector<double>& times) {
      return every_prerequisite(action, rank, schedule_, [&](const Need& need) {
        return need.until != until || wait(need, times[ids_.id(need.rank, need.action)]);
      });
    };
    if (!wait_for(Until::done, done_)) return std::nullopt;
    double& posted = posted_[ids_.id(rank, action)];
    came_further_ |= posted == unknown;
    posted = ready;
    if (is_send(action.work)) return Span{ready, ready};  // it delays only its receiver
    if (!wait_for(Until::posted, posted_)) return std::nullopt;
    return Span{ready, ready + (is_receive(action.work) ? costs_.hop : cost(action, costs_))};
  }

  /// For a message that arrived while its receiver computed.
  double taking_in(const Action& action, int rank) const {
    if (costs_.overhead == 0) return 0;
    const bool takes_none = every_prerequisite(action, rank, schedule_, [](const Need& need) {
      return need.until != Until::done || !is_receive(need.action.work);
    });
    return takes_none ? 0 : costs_.overhead;
  }

  const Schedule& schedule_;
  const Costs& costs_;
  ActionIds ids_;
  std::vector<double> posted_;                 // [ids_.size()]
  std::vector<double> done_;                   // [ids_.size()]
  std::vector<double> free_;                   // [pipeline], when the computing lane is free
  std::vector<std::vector<int>> waiting_for_;  // [pipeline], the ranks that wait for a rank
  bool came_further_ = false;                  // whether the visited rank has done or posted anything
  std::vector<std::vector<Span>> spans_;
};

}  // namespace

Costs equal_costs(const Schedule& schedule, const StageCosts& whole, double hop) {
  const double chunks = schedule.chunks();
  const StageCosts chunk{whole.forward / chunks, whole.input_gradient / chunks, whole.weight_gradient / chunks};
  return {.stages = std::vector<StageCosts>(static_cast<std::size_t>(schedule.stages), chunk),
          .hop = hop,
          .whole_step = {}};
}

std::vector<std::vector<Span>> computing_times(const Schedule& schedule) {
  ensure(!schedule.lowered, "computing_times: the table is lowered");
  return Clock(schedule, {std::vector<StageCosts>(static_cast<std::size_t>(schedule.stages)), 0}).run();
}

Simulation simulate(const Schedule& schedule, const Costs& costs) {
  check(schedule, costs);
  Simulation result;
  result.spans = Clock(schedule, costs).run();
  double busy_of_all = 0;
  for (int rank = 0; rank < schedule.pipeline; ++rank) {
    double busy = 0;
    for (const Action& action : schedule.row(rank))
      if (is_compute(action.work)) busy += cost(action, costs);
    for (const Span& span : result.spans[static_cast<std::size_t>(rank)])
      result.makespan = std::max(result.makespan, span.end);
    result.busy.push_back(busy);
    busy_of_all += busy;
  }
  for (const double busy : result.busy) result.idle.push_back(result.makespan - busy);
  result.bubble_rate = 1 - busy_of_all / (schedule.pipeline * result.makespan);
  return result;
}

}  // namespace penstock
