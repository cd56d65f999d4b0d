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
  double final = 0.1;  ///< of the peak, at run.steps
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;  ///< global gradient norm; 0: no clipping
  bool shard = true;

  void describe(FieldTable& table);
};

/// The learning rate of step `step`, counted from 1: peak * min(1, step / warmup), then along the curve to final * peak
/// at `steps`.
double learning_rate(const OptimizerConfig& config, std::int64_t step, std::int64_t steps);

}  // namespace penstock
