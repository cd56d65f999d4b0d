// SPDX-License-Identifier: Apache-2.0
#include "observe/step_forecast.hpp"

#include <utility>

#include "base/median.hpp"

namespace penstock {

namespace {

double median_of(const std::vector<StepShare>& steps, double StepShare::*part) {
  std::vector<double> values;
  for (const StepShare& step : steps) values.push_back(step.*part);
  return penstock::median_of(std::move(values));
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

}  // namespace

StepShare share_of(const std::vector<Action>& row, const std::vector<Span>& spans) {
  ensure(row.size() == spans.size(), "spans are not those of the row");
  StepShare share;
  double free = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double took = spans[i].end - spans[i].start;
    if (is_compute(row[i].work)) share.busy += took;
    if (is_whole_step(row[i].work) && row[i].work != Work::update) share.communication += took;
    share.waiting += spans[i].start - free;
    free = spans[i].end;
  }
  share.step = free;
  return share;
}

// The slowest of all transfers counts.
void StepForecast::foretell(World& world, const std::function<TransferTimes(double)>& measure_transfers) {
  stage_costs_ = costs_of(*schedule_, world.gather(costs_.text()));
  double forward = 0;
  for (const StageCosts& stage : stage_costs_.stages) forward += stage.forward / schedule_->stages;
  const auto largest = [&](double seconds) {
    constexpr double nanosecond = 1e-9;
    return static_cast<double>(world.largest(static_cast<std::int64_t>(seconds / nanosecond))) * nanosecond;
  };
  const TransferTimes transfers = measure_transfers(forward);
  stage_costs_.hop = largest(transfers.hop);
  stage_costs_.overhead = largest(transfers.overhead);
  foretold_ = simulate(*schedule_, stage_costs_);
}

void StepForecast::add(World& world, const std::vector<Span>& spans,
                       const std::function<TransferTimes(double)>& measure_transfers) {
  const std::vector<Action>& row = schedule_->row(pipeline_rank_);
  ++steps_;
  if (steps_ >= first_timed && steps_ <= last_timed) costs_.add(row, spans);
  if (steps_ == last_timed) foretell(world, measure_transfers);
  if (steps_ > last_timed) later_.push_back(share_of(row, spans));
}

std::string StepForecast::text() const {
  if (!foretold_) return "";
  const std::string hops =
      schedule_->pipeline > 1 ? fmt::format(", and hops of {:.6f} s between stages", stage_costs_.hop) : "";
  return fmt::format(
      "a step should take {:.6f} s, {:.1f} % of it idle (predicted from steps {} to {} of this run attempt{})",
      foretold_->makespan, 100 * foretold_->bubble_rate, first_timed, last_timed, hops);
}

std::string StepForecast::line() const {
  if (later_.empty() || !foretold_) return "";
  const auto rank = static_cast<std::size_t>(pipeline_rank_);
  const double step = median_of(later_, &StepShare::step), busy = median_of(later_, &StepShare::busy);
  return fmt::format(
      "a step took {:.6f} s (predicted {:.6f}), idle {:.1f} % (predicted {:.1f}), waiting {:.6f} s, communication "
      "{:.6f} s",
      step, foretold_->makespan, percent(step - busy, step), percent(foretold_->idle[rank], foretold_->makespan),
      median_of(later_, &StepShare::waiting), median_of(later_, &StepShare::communication));
}

}  // namespace penstock
