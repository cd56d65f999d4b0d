// SPDX-License-Identifier: Apache-2.0
#include "plan/step_agenda.hpp"

#include <algorithm>

namespace penstock {

namespace {

bool falls_on(std::int64_t step, std::int64_t every) { return every > 0 && step % every == 0; }

}  // namespace

std::int64_t StepAgenda::last_step() const {
  const auto& run = config_->run;
  return run.stop > 0 && run.stop < run.steps ? run.stop : run.steps;
}

bool StepAgenda::captures(std::int64_t step) const {
  const std::vector<std::int64_t>& steps = config_->capture.steps;
  return std::find(steps.begin(), steps.end(), step) != steps.end();
}

bool StepAgenda::evaluates(std::int64_t step) const {
  return has_validation_ && (step == last_step() || falls_on(step, config_->validation.every));
}

bool StepAgenda::saves(std::int64_t step) const { return falls_on(step, config_->checkpoint.every); }

bool StepAgenda::leads_on(std::int64_t step) const {
  return step < last_step() && !saves(step) && !evaluates(step) && !captures(step) && !captures(step + 1);
}

}  // namespace penstock
