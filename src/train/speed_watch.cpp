// SPDX-License-Identifier: Apache-2.0
#include "train/speed_watch.hpp"

#include <algorithm>
#include <numeric>
#include <sstream>

#include "base/median.hpp"
#include "train/make_plan.hpp"
#include "train/outliers.hpp"

namespace penstock {

namespace {

double operations_of(const ModelPlan& plan, int pipeline_rank) {
  const PartCosts costs = part_costs(plan.config, plan.sequence);
  double operations = 0;
  for (const int stage : plan.schedule.stages_of_rank(pipeline_rank)) {
    const StagePart& part = plan.parts.at(static_cast<std::size_t>(stage));
    operations += part.blocks * costs.block + (part.embedding ? costs.embedding : 0) + (part.head ? costs.head : 0);
  }
  return operations;
}

}  // namespace

SpeedWatch::SpeedWatch(World& world, LinkProbe& probe, const ModelPlan& plan, const Mesh& mesh)
    : world_(&world),
      probe_(&probe),
      hosts_(world.gather(World::host())),
      was_slow_(static_cast<std::size_t>(world.size()), false) {
  for (int rank = 0; rank < world.size(); ++rank)
    operations_.push_back(operations_of(plan, place_of(mesh, rank).pipeline));
  const double mean =
      std::accumulate(operations_.begin(), operations_.end(), 0.0) / static_cast<double>(operations_.size());
  for (double& operations : operations_) operations /= mean;
}

std::vector<std::string> SpeedWatch::add(const StepSeconds& step) {
  steps_.push_back(step);
  if (steps_.size() < window) return {};
  return end_window();
}

std::vector<std::string> SpeedWatch::end_window() {
  std::vector<double> whole, computing;
  for (const StepSeconds& step : steps_) {
    whole.push_back(step.whole);
    computing.push_back(step.computing);
  }
  steps_.clear();
  const std::vector<std::string> all =
      world_->gather(fmt::format("{:.9g} {:.9g}", median_of(whole), median_of(computing)));
  whole.clear();
  computing.clear();
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    std::istringstream numbers(all[rank]);
    numbers >> whole.emplace_back() >> computing.emplace_back();
    computing.back() /= operations_[rank];
  }
  std::vector<std::string> lines = slow_ranks(computing);
  if (are_slower(whole)) {
    const std::vector<std::string> links = probe_->slow_links();
    lines.insert(lines.end(), links.begin(), links.end());
  }
  return lines;
}

std::vector<std::string> SpeedWatch::slow_ranks(const std::vector<double>& computing) {
  std::vector<std::string> lines;
  std::vector<bool> are_slow(was_slow_.size(), false);
  for (const Outlier& outlier : outliers(computing, slow)) {
    are_slow[outlier.index] = true;
    if (!was_slow_[outlier.index])
      lines.push_back(
          fmt::format("slow rank: rank {} on {} computes {:.2f} times as long as the median of {} ranks, for "
                      "equal work, over the last {} steps",
                      outlier.index, hosts_[outlier.index], outlier.times_the_median, computing.size(), window));
  }
  was_slow_ = are_slow;
  return lines;
}

// Whether steps have just become slower; a run that stays so is not probed again and again.
bool SpeedWatch::are_slower(const std::vector<double>& whole) {
  const double step = *std::max_element(whole.begin(), whole.end());
  const bool slower_now = fastest_ > 0 && step > slower * fastest_;
  fastest_ = fastest_ > 0 ? std::min(fastest_, step) : step;
  const bool began = slower_now && !was_slower_;
  was_slower_ = slower_now;
  return began;
}

}  // namespace penstock
