// SPDX-License-Identifier: Apache-2.0
#include "optim/optimizer_config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>

#include "base/error.hpp"

namespace penstock {

namespace {

// The remaining share of the way from the peak to the final rate, after a share of the steps since the warmup.
double linear(double progress) { return 1 - progress; }
double cosine(double progress) { return 0.5 * (1 + std::cos(std::numbers::pi * progress)); }

struct Curve {
  std::string_view name;
  double (*left)(double progress);
};
constexpr std::array curves{Curve{"cosine", cosine}, Curve{"linear", linear}};

std::vector<std::string> curve_names() {
  std::vector<std::string> names;
  for (const Curve& curve : curves) names.emplace_back(curve.name);
  return names;
}

const Curve& curve_of(const std::string& name) {
  const auto* curve = std::find_if(curves.begin(), curves.end(), [&](const Curve& c) { return c.name == name; });
  ensure(curve != curves.end(), "optimizer.decay = " + name + ": there is no such curve");
  return *curve;
}

}  // namespace

void OptimizerConfig::describe(FieldTable& table) {
  table.add("optimizer.learning_rate", learning_rate, "peak learning rate of AdamW")
      .required()
      .above(0)
      .used_as_float32();
  table.add("optimizer.warmup", warmup, "steps over which the learning rate rises to its peak")
      .unit("steps")
      .at_least(0);
  table.add("optimizer.decay", decay, "curve from the peak down to the final learning rate").one_of(curve_names());
  table.add("optimizer.final", final, "learning rate at run.steps, as a share of the peak").at_least(0).at_most(1);
  table.add("optimizer.beta1", beta1, "decay of the first moment").at_least(0).below(1).used_as_float32();
  table.add("optimizer.beta2", beta2, "decay of the second moment").at_least(0).below(1).used_as_float32();
  table.add("optimizer.epsilon", epsilon, "added to the root of the second moment").above(0).used_as_float32();
  table.add("optimizer.weight_decay", weight_decay, "decoupled decay of every two-dimensional parameter")
      .at_least(0)
      .used_as_float32();
  table.add("optimizer.clip", clip, "largest global gradient norm; 0 is no clipping").at_least(0).used_as_float32();
  table.add("optimizer.shard", shard, "cut master weights and moments over the data axis (ZeRO-1)");
}

double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t steps) {
  if (step < config.warmup)
    return config.learning_rate * static_cast<double>(step) / static_cast<double>(config.warmup);
  const auto after = static_cast<double>(step - config.warmup);
  const double progress =
      std::clamp(after / static_cast<double>(std::max<std::int64_t>(1, steps - config.warmup)), 0.0, 1.0);
  const double left = curve_of(config.decay).left(progress);
  return config.learning_rate * (config.final + (1 - config.final) * left);
}

}  // namespace penstock
