// SPDX-License-Identifier: Apache-2.0
#include "ops/step_scalars.hpp"

#include <cmath>

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

void finish_step(const ops::FinishStep& arguments, ops::StepScalars* scalars) {
  const Values totals = read(arguments.totals);
  double squares = 0;
  for (std::size_t i = 1; i < totals.size(); ++i) squares += totals[i];
  scalars->loss = totals[0] / arguments.inputs->loss_tokens;
  scalars->gradient_norm = std::sqrt(squares);
  const bool last_applied = scalars->adamw.apply;
  scalars->adamw = arguments.inputs->adamw;
  scalars->adamw.gradient_scale = 1;
  if (arguments.clip > 0 && arguments.clip < scalars->gradient_norm)
    scalars->adamw.gradient_scale = static_cast<float>(arguments.clip / scalars->gradient_norm);
  scalars->adamw.apply = std::isfinite(scalars->loss) && std::isfinite(scalars->gradient_norm);
  if (arguments.inputs->needs_the_last && !last_applied) scalars->adamw.apply = false;
}

}  // namespace penstock::reference
