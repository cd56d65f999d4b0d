#include "schedule/measured_costs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "base/error.hpp"
#include "base/median.hpp"

namespace penstock {

namespace {

void raise(double& cost, double seconds) { cost = std::max(cost, seconds); }

void count(Costs& costs, const Action& action, double seconds) {
  if (is_whole_step(action.work)) {
    const auto [cost, first] = costs.whole_step.emplace(action.work, seconds);
    if (first) return;
    cost->second = action.work == Work::update ? std::max(cost->second, seconds) : std::min(cost->second, seconds);
    return;
  }
  StageCosts& stage = costs.stages.at(static_cast<std::size_t>(action.stage));
  switch (action.work) {
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
  for (const std::string& text : texts) {
    std::istringstream words(text);
    std::string action;
    double seconds = 0;
    while (words >> action >> seconds) count(costs, parse_action(action), seconds);
  }
  return costs;
}

}  // namespace penstock
