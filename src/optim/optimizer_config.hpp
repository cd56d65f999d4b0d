// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "config/field_table.hpp"

namespace penstock {

/// The optimizer's section of a deck.
struct OptimizerConfig {
  double learning_rate = 0;  ///< peak
  std::int64_t warmup = 0;   ///< steps
  std::string decay = "cosine";
  std::int64_t decay_steps = 0;        ///< of "wsd": the last steps of the run
  std::string decay_shape = "linear";  ///< of "wsd"
  double final = 0.1;                  ///< of the peak, at run.steps
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;  ///< global gradient norm; 0: no clipping
  bool shard = true;

  void describe(FieldTable& table);
};

/// Whether the learning rate stays at its peak between warmup and decay.
bool has_plateau(const OptimizerConfig& config);

/// Of step `step`, counted from 1: peak * min(1, step / warmup), then along the curve to final * peak at `steps`. With
/// "wsd" (warmup, stable, decay) the curve begins at steps - decay_steps, and until then the rate is the peak, whatever
/// `steps` is. Source of its shapes, 1 - x and 1 - sqrt(x): Haegele et al., "Scaling laws and compute-optimal training
/// beyond fixed training durations", 2024.
double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t steps);

}  // namespace penstock
