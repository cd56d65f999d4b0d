// SPDX-License-Identifier: Apache-2.0
#include "ops/step_scalars.hpp"

#include <cmath>

namespace penstock::ops {

void finish_step(Queue&, const FinishStep& arguments, StepScalars* scalars) {
  const double* totals = arguments.totals.data<double>();
  const std::int64_t count = arguments.totals.elements();
  ensure(count >= 1, "finish_step: totals lack the loss");
  double squares = 0;
  for (std::int64_t i = 1; i < count; ++i) squares += totals[i];
  const double norm = std::sqrt(squares);
  const double loss = totals[0] / arguments.inputs->loss_tokens;
  const bool clips = arguments.clip > 0 && norm > arguments.clip;
  scalars->loss = loss;
  scalars->gradient_norm = norm;
  const bool may_apply = !arguments.inputs->needs_the_last || scalars->adamw.apply;
  scalars->adamw = arguments.inputs->adamw;
  scalars->adamw.gradient_scale = clips ? static_cast<float>(arguments.clip / norm) : 1.0F;
  scalars->adamw.apply = may_apply && std::isfinite(loss) && std::isfinite(norm);
}

}  // namespace penstock::ops
