// SPDX-License-Identifier: Apache-2.0
#include "optim/optimizer_config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>
#include <string_view>

#include "base/error.hpp"

namespace penstock {

namespace {

// The remaining share of the way from the peak to the final rate, after a share of the steps since the warmup.
double linear(double progress) { return 1 - progress; }
double cosine(double progress) { return 0.5 * (1 + std::cos(std::numbers::pi * progress)); }

double root(double progress) { return 1 - std::sqrt(progress); }

struct Curve {
  std::string_view name;
  double (*left)(double progress);
};
constexpr std::array curves{Curve{"cosine", cosine}, Curve{"linear", linear}};
constexpr std::array shapes{Curve{"linear", linear}, Curve{"sqrt", root}};
constexpr std::string_view with_plateau = "wsd";

std::vector<std::string> names_of(std::span<const Curve> all) {
  std::vector<std::string> names;
  for (const Curve& curve : all) names.emplace_back(curve.name);
  return names;
}

std::vector<std::string> decay_names() {
  std::vector<std::string> names = names_of(curves);
  names.emplace_back(with_plateau);
  return names;
}

const Curve& curve_of(std::span<const Curve> all, std::string_view key, const std::string& name) {
  const auto curve = std::find_if(all.begin(), all.end(), [&](const Curve& c) { return c.name == name; });
  ensure(curve != all.end(), fmt::format("{} = {}: there is no such curve", key, name));
  return *curve;
}

const Curve& curve_of(const OptimizerConfig& config) {
  return has_plateau(config) ? curve_of(shapes, "optimizer.decay_shape", config.decay_shape)
                             : curve_of(curves, "optimizer.decay", config.decay);
}

/// The step after which the curve begins.
std::int64_t last_step_of_peak(const OptimizerConfig& config, std::int64_t steps) {
  return has_plateau(config) ? std::max(config.warmup, steps - config.decay_steps) : config.warmup;
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
  table.add("optimizer.decay", decay, "curve from the peak down to the final learning rate").one_of(decay_names());
  table
      .add("optimizer.decay_steps", decay_steps,
           "last steps of the run, over which the learning rate falls with decay = \"wsd\"; before, it stays at its "
           "peak")
      .unit("steps")
      .at_least(0);
  table.add("optimizer.decay_shape", decay_shape, "curve of these steps: 1 - x, or 1 - sqrt(x)")
      .one_of(names_of(shapes));
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

bool has_plateau(const OptimizerConfig& config) { return config.decay == with_plateau; }

double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t steps) {
  if (step < config.warmup)
    return config.learning_rate * static_cast<double>(step) / static_cast<double>(config.warmup);
  const std::int64_t peak = last_step_of_peak(config, steps);
  const auto after = static_cast<double>(step - peak);
  const double progress = std::clamp(after / static_cast<double>(std::max<std::int64_t>(1, steps - peak)), 0.0, 1.0);
  const double left = curve_of(config).left(progress);
  return config.learning_rate * (config.final + (1 - config.final) * left);
}

}  // namespace penstock
