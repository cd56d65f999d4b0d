// SPDX-License-Identifier: Apache-2.0
#include "observe/preflight.hpp"

#include <algorithm>

#include "base/clock.hpp"
#include "comm/cores.hpp"
#include "device/device.hpp"
#include "observe/outliers.hpp"
#include "ops/linear.hpp"
#include "tensor/arena.hpp"

namespace penstock {

namespace {

struct Product {
  std::int64_t rows, inputs, outputs;
  DType type;
};

struct ProductTensors {
  TensorView x, weight, y;
};

ProductTensors take(const Product& product, Arena& arena) {
  const auto matrix = [&](std::int64_t rows, std::int64_t columns) {
    return arena.take(MemoryUse::buffers, product.type, {rows, columns});
  };
  return {matrix(product.rows, product.inputs), matrix(product.outputs, product.inputs),
          matrix(product.rows, product.outputs)};
}

std::size_t bytes_of(const Product& product) {
  Arena counted;
  take(product, counted);
  return counted.bytes_taken();
}

// The first product of the MLP, in the size of this deck's ranks; with half the rows or outputs, and so on, if memory
// is short.
Product product_of(const ModelPlan& plan, std::size_t bytes) {
  Product product{.rows = plan.micro * plan.sequence,
                  .inputs = plan.model->width,
                  .outputs = plan.model->block(0).branches.back().in.outputs(plan.cut.tensor),
                  .type = plan.cut.compute};
  while (bytes_of(product) > bytes && std::max(product.rows, product.outputs) > 1)
    (product.rows > product.outputs ? product.rows : product.outputs) /= 2;
  return product;
}

// Seconds, the shortest of a few.
double time_product(Queue& queue, const ModelPlan& plan, TensorView idle) {
  constexpr double worth_timing_seconds = 0.005;
  constexpr int repeats = 5;
  Arena memory(idle);
  const auto [x, weight, y] = take(product_of(plan, idle.bytes()), memory);
  const auto time = [&, x = x, weight = weight, y = y](int products) {  // Clang with OpenMP captures no bindings
    const auto start = Clock::now();
    for (int product = 0; product < products; ++product)
      ops::linear(queue, {.x = x, .weight = weight, .bias = {}, .y = y, .pre_activation = {}});
    queue.drain("products that are timed");
    return seconds_since(start) / products;
  };
  time(1);  // creates its plan
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

std::vector<Warning> slow_products(World& world, Queue& queue, const ModelPlan& plan, TensorView idle) {
  const std::vector<std::string> places = world.gather(fmt::format("{} ({})", World::host(), device_text()));
  world.barrier();
  double mine = time_product(queue, plan, idle);
  std::vector<Outlier> slow = outliers(times_of_all(world, mine), preflight_tolerance);
  if (!slow.empty()) {
    mine = std::min(mine, time_product(queue, plan, idle));
    slow = outliers(times_of_all(world, mine), preflight_tolerance);
  }
  std::vector<Warning> warnings;
  for (const Outlier& outlier : slow) {
    const std::string name = fmt::format("slow rank: rank {} on {}", outlier.index, places[outlier.index]);
    warnings.push_back({name, fmt::format("{}: a product takes {:.2f} times the median of {} ranks", name,
                                          outlier.times_the_median, world.size())});
  }
  return warnings;
}

}  // namespace

bool ranks_share_cores(World& world, int threads) {
  return world.largest(threads > share_of_cores(world) + 1e-6 ? 1 : 0) != 0;
}

std::vector<Warning> preflight(World& world, Queue& queue, const ModelPlan& plan, TensorView idle, LinkProbe& links) {
  std::vector<Warning> warnings = slow_products(world, queue, plan, idle);
  std::vector<Warning> slow = links.slow_links();
  if (!slow.empty()) slow = links.slow_links();
  warnings.insert(warnings.end(), slow.begin(), slow.end());
  return warnings;
}

}  // namespace penstock
