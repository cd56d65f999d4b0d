// SPDX-License-Identifier: Apache-2.0
#include "observe/speed_watch.hpp"

#include <algorithm>
#include <map>
#include <sstream>
#include <tuple>

#include "base/median.hpp"
#include "observe/outliers.hpp"
#include "plan/make_plan.hpp"

namespace penstock {

std::vector<int> kinds_of_work(const ModelPlan& plan, const Mesh& mesh) {
  std::map<std::tuple<int, int, int>, int> known;
  std::vector<int> kinds;
  for (int rank = 0; rank < mesh.size(); ++rank) {
    int blocks = 0, embeddings = 0, heads = 0;
    for (const int stage : plan.schedule.stages_of_rank(mesh.coordinate(rank, Axis::pipeline))) {
      const StagePart& part = plan.parts.at(static_cast<std::size_t>(stage));
      blocks += part.blocks;
      embeddings += part.embedding ? 1 : 0;
      heads += part.head ? 1 : 0;
    }
    kinds.push_back(known.try_emplace({blocks, embeddings, heads}, static_cast<int>(known.size())).first->second);
  }
  return kinds;
}

SpeedWatch::SpeedWatch(World& world, LinkProbe& probe, const ModelPlan& plan, const Mesh& mesh)
    : world_(&world),
      probe_(&probe),
      hosts_(world.gather(World::host())),
      kinds_(kinds_of_work(plan, mesh)),
      was_slow_(static_cast<std::size_t>(world.size()), false),
      fastest_computing_(static_cast<std::size_t>(world.size()), 0) {}

std::vector<Warning> SpeedWatch::add(const StepSeconds& step) {
  steps_.push_back(step);
  if (steps_.size() < window) return {};
  return end_window();
}

std::vector<Warning> SpeedWatch::end_window() {
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
  for (const std::string& of_rank : all) {
    std::istringstream numbers(of_rank);
    numbers >> whole.emplace_back() >> computing.emplace_back();
  }
  std::vector<Warning> warnings = slow_ranks(computing);
  if (are_slower(whole))
    for (const std::vector<Warning>& more : {slower_than_themselves(computing), probe_->slow_links()})
      warnings.insert(warnings.end(), more.begin(), more.end());
  for (std::size_t rank = 0; rank < computing.size(); ++rank)
    if (double& fastest = fastest_computing_[rank]; fastest == 0 || computing[rank] < fastest)
      fastest = computing[rank];
  return warnings;
}

std::string SpeedWatch::name_of(std::size_t rank) const {
  return fmt::format("slow rank: rank {} on {}", rank, hosts_[rank]);
}

std::vector<Warning> SpeedWatch::slow_ranks(const std::vector<double>& computing) {
  std::vector<Warning> warnings;
  std::vector<bool> are_slow(was_slow_.size(), false);
  for (const Outlier& outlier : outliers_of_equals(computing, kinds_, slow)) {
    are_slow[outlier.index] = true;
    if (was_slow_[outlier.index]) continue;
    const std::string name = name_of(outlier.index);
    warnings.push_back(
        {fmt::format("{}, {}", name, outlier.doublings()),
         fmt::format(
             "{} computes {:.2f} times as long as the median of {} ranks, for equal work, over the last {} steps", name,
             outlier.times_the_median, outlier.compared, window)});
  }
  was_slow_ = are_slow;
  return warnings;
}

// A rank whose work no other rank has can only be compared with its own past.
std::vector<Warning> SpeedWatch::slower_than_themselves(const std::vector<double>& computing) const {
  std::vector<Warning> warnings;
  for (std::size_t rank = 0; rank < computing.size(); ++rank) {
    if (std::count(kinds_.begin(), kinds_.end(), kinds_[rank]) > 1) continue;
    if (const double fastest = fastest_computing_[rank]; fastest > 0 && computing[rank] > slow * fastest)
      warnings.push_back(
          {name_of(rank), fmt::format("{} computes {:.2f} times as long as in its fastest {} steps; no other rank has "
                                      "equal work",
                                      name_of(rank), computing[rank] / fastest, window)});
  }
  return warnings;
}

// Whether steps have just become slower; a run that stays slow is not probed repeatedly.
bool SpeedWatch::are_slower(const std::vector<double>& whole) {
  const double step = *std::max_element(whole.begin(), whole.end());
  const bool slower_now = fastest_ > 0 && step > slower * fastest_;
  fastest_ = fastest_ > 0 ? std::min(fastest_, step) : step;
  const bool began = slower_now && !was_slower_;
  was_slower_ = slower_now;
  return began;
}

}  // namespace penstock
