// SPDX-License-Identifier: Apache-2.0
#include "schedule/measured_costs.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <sstream>

#include "base/error.hpp"
#include "base/median.hpp"

namespace penstock {

namespace {

/// The measurements of one rank, action by action; microbatch 0 represents all.
using RankCosts = std::vector<std::pair<Action, double>>;

RankCosts parse(const std::string& text) {
  RankCosts parsed;
  std::istringstream words(text);
  std::string action;
  double seconds = 0;
  while (words >> action >> seconds) parsed.emplace_back(parse_action(action), seconds);
  return parsed;
}

void raise(double& cost, double seconds) { cost = std::max(cost, seconds); }
void keep_least(double& cost, double seconds) { cost = std::min(cost, seconds); }

void count_compute(StageCosts& stage, Work work, double seconds) {
  switch (work) {
    case Work::forward:
      return raise(stage.forward, seconds);
    case Work::input_gradient:
      return raise(stage.input_gradient, seconds);
    case Work::weight_gradient:
      return raise(stage.weight_gradient, seconds);
    default:
      raise(stage.input_gradient, seconds / 2);
      raise(stage.weight_gradient, seconds / 2);
  }
}

/// The sums across ranks that follow one another at the end of a step.
bool ends_step(Work work) { return is_whole_step(work) && work != Work::gather_parameters && work != Work::update; }

/// How many of them a rank takes part in, and the seconds it spends in them.
std::pair<int, double> end_of(const RankCosts& rank) {
  std::pair<int, double> end{0, 0};
  for (const auto& [action, seconds] : rank)
    if (ends_step(action.work)) end.first += 1, end.second += seconds;
  return end;
}

/// Only ranks that take part in most of them count: middle ranks of a pipeline have no part in the tied sum.
const RankCosts& last_to_come(const std::vector<RankCosts>& ranks) {
  return *std::ranges::min_element(ranks, {}, [](const RankCosts& rank) {
    const auto [sums, seconds] = end_of(rank);
    return std::pair(-sums, seconds);
  });
}

/// A rank without a tied sum that came after all others waited for nobody in the norm; the others waited for it.
void take_shorter_norm(const RankCosts& rank, Costs& costs) {
  for (const auto& [action, seconds] : rank)
    if (action.work == Work::norm) keep_least(costs.whole_step[action.work], seconds);
}

}  // namespace

void MeasuredCosts::add(const std::vector<Action>& row, std::span<const Span> spans) {
  ensure(row.size() == spans.size(), "measured spans are not those of the row");
  for (std::size_t i = 0; i < row.size(); ++i)
    if (!is_transfer(row[i].work)) seconds_[{row[i].stage, row[i].work}].push_back(spans[i].end - spans[i].start);
}

std::string MeasuredCosts::text() const {
  std::string text;
  for (const auto& [what, seconds] : seconds_) {
    const Action action{what.second, what.first, what.first == whole_step ? whole_step : 0};
    text += fmt::format("{} {:.9g} ", action.text(), median_of(seconds));
  }
  return text;
}

Costs costs_of(const Schedule& schedule, std::span<const std::string> texts) {
  Costs costs{.stages = std::vector<StageCosts>(static_cast<std::size_t>(schedule.stages), StageCosts{0, 0, 0}),
              .hop = 0,
              .whole_step = {}};
  std::vector<RankCosts> ranks;
  for (const std::string& text : texts) ranks.push_back(parse(text));
  for (const RankCosts& rank : ranks)
    for (const auto& [action, seconds] : rank)
      if (!is_whole_step(action.work))
        count_compute(costs.stages.at(static_cast<std::size_t>(action.stage)), action.work, seconds);
      else if (action.work == Work::update)
        raise(costs.whole_step[action.work], seconds);
      else if (action.work == Work::gather_parameters)
        keep_least(costs.whole_step.try_emplace(action.work, seconds).first->second, seconds);
  const RankCosts& last = last_to_come(ranks);
  for (const auto& [action, seconds] : last)
    if (ends_step(action.work)) costs.whole_step[action.work] = seconds;
  for (const RankCosts& rank : ranks)
    if (end_of(rank).first < end_of(last).first) take_shorter_norm(rank, costs);
  return costs;
}

}  // namespace penstock
