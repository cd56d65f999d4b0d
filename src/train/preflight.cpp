#include "train/preflight.hpp"

#include <algorithm>
#include <chrono>

#include "device/device.hpp"
#include "ops/linear.hpp"
#include "train/cores.hpp"
#include "train/outliers.hpp"

namespace penstock {

namespace {

using Clock = std::chrono::steady_clock;

// The MLP's first product, as this deck's ranks make it: seconds, the shortest of a few.
double time_product(Queue& queue, const ModelPlan& plan) {
  constexpr double worth_timing_seconds = 0.005;
  constexpr int repeats = 5;
  const std::int64_t rows = plan.micro * plan.sequence, width = plan.config.width;
  const Tensor x(plan.cut.compute, {rows, width}), weight(plan.cut.compute, {4 * width / plan.cut.tensor, width}),
      y(plan.cut.compute, {rows, 4 * width / plan.cut.tensor});
  const auto time = [&](int products) {
    const auto start = Clock::now();
    for (int product = 0; product < products; ++product)
      ops::linear(queue, {.x = x.view(), .weight = weight.view(), .bias = {}, .y = y.view(), .pre_activation = {}});
    queue.drain("products that are timed");
    return std::chrono::duration<double>(Clock::now() - start).count() / products;
  };
  time(1);  // makes it
  const int products = std::clamp(static_cast<int>(worth_timing_seconds / time(1)), 1, 1000);
  double shortest = time(products);
  for (int repeat = 1; repeat < repeats; ++repeat) shortest = std::min(shortest, time(products));
  return shortest;
}

std::vector<double> times_of_all(World& world, double mine) {
  std::vector<double> all;
  for (const std::string& text : world.gather(fmt::format("{:.9g}", mine))) all.push_back(std::stod(text));
  return all;
}

std::vector<std::string> slow_products(World& world, Queue& queue, const ModelPlan& plan) {
  const std::vector<std::string> places = world.gather(fmt::format("{} ({})", World::host(), device_text()));
  world.barrier();
  double mine = time_product(queue, plan);
  std::vector<Outlier> slow = outliers(times_of_all(world, mine), preflight_tolerance);
  if (!slow.empty()) {
    mine = std::min(mine, time_product(queue, plan));
    slow = outliers(times_of_all(world, mine), preflight_tolerance);
  }
  std::vector<std::string> lines;
  for (const Outlier& outlier : slow)
    lines.push_back(fmt::format("slow rank: rank {} on {}: a product takes {:.2f} times the median of {} ranks",
                                outlier.index, places[outlier.index], outlier.times_the_median, world.size()));
  return lines;
}

}  // namespace

bool ranks_share_cores(World& world, int threads) {
  return world.largest(threads > share_of_cores(world) + 1e-6 ? 1 : 0) != 0;
}

std::vector<std::string> preflight(World& world, Queue& queue, const ModelPlan& plan, LinkProbe& links) {
  std::vector<std::string> lines = slow_products(world, queue, plan);
  std::vector<std::string> slow = links.slow_links();
  if (!slow.empty()) slow = links.slow_links();
  lines.insert(lines.end(), slow.begin(), slow.end());
  return lines;
}

}  // namespace penstock
