// SPDX-License-Identifier: Apache-2.0
#pragma once
// The results of a step's sums: loss, gradient norm, and the values that AdamW reads. They stay in device memory, so
// that the host never waits inside a step.

#include "device/queue.hpp"
#include "ops/adamw.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// In device memory.
struct StepScalars {
  double loss_sum = 0;       ///< of this rank's tokens so far, nats; add_sum adds to it
  double loss = 0;           ///< mean over the tokens of the global batch, nats
  double gradient_norm = 0;  ///< before clipping
  AdamWStep adamw;           ///< see finish_step
};

/// Values that change from step to step; in device memory, so that a recorded step can run again with other values.
struct StepInputs {
  double loss_tokens = 1;  ///< tokens that the sum of losses spans
  /// The step began before the host knew the result of the step before: if that one changed nothing, this one must not
  /// either.
  bool needs_the_last = false;
  AdamWStep adamw;  ///< learning rate and corrections
};

struct FinishStep {
  TensorView totals;  ///< [1 + parameters] float64, summed over all ranks: the loss, then sums of squares
  double clip = 0;    ///< largest norm; 0: no clipping
  const StepInputs* inputs = nullptr;
};
/// scalars->loss = totals[0] / loss_tokens; gradient_norm = sqrt(the sum of the others, in order, in double);
/// adamw = inputs->adamw with gradient_scale = clip / gradient_norm where that is below 1, else 1, and with `apply`:
/// loss and norm are finite and, where inputs->needs_the_last, scalars->adamw.apply, which is still the last step's.
void finish_step(Queue& queue, const FinishStep& arguments, StepScalars* scalars);

}  // namespace penstock::ops
