// SPDX-License-Identifier: Apache-2.0
#pragma once
// StepAgenda: what else a deck asks for at which step.

#include <cstdint>

#include "plan/run_config.hpp"

namespace penstock {

/// Steps count from 1. Everything follows from the deck, so it is the same on every rank.
class StepAgenda {
 public:
  /// `config` outlives it. Without a validation file nothing is evaluated.
  StepAgenda(const RunConfig& config, bool has_validation) : config_(&config), has_validation_(has_validation) {}

  /// run.steps.
  std::int64_t steps() const { return config_->run.steps; }
  /// Of this run attempt: run.steps, or run.stop where that comes first.
  std::int64_t last_step() const;
  /// During the step.
  bool captures(std::int64_t step) const;
  /// After the step.
  bool evaluates(std::int64_t step) const;
  bool saves(std::int64_t step) const;
  /// Whether there is nothing to do between this step and the next one, so that the device may get the next one during
  /// this one.
  bool leads_on(std::int64_t step) const;

 private:
  const RunConfig* config_;
  bool has_validation_;
};

}  // namespace penstock
