// SPDX-License-Identifier: Apache-2.0
#include "ops/step_scalars.hpp"

#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

__global__ void finish(const double* totals, std::int64_t count, double clip, const StepInputs* inputs,
                       StepScalars* scalars) {
  const double squares = sum_in_order(totals + 1, count - 1);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(squares);
  const double loss = totals[0] / inputs->loss_tokens;
  AdamWStep adamw = inputs->adamw;
  const bool clips = clip > 0 && norm > clip;
  adamw.gradient_scale = clips ? static_cast<float>(clip / norm) : 1.0F;
  const bool may_apply = !inputs->needs_the_last || scalars->adamw.apply;
  adamw.apply = may_apply && isfinite(loss) && isfinite(norm);
  scalars->loss = loss;
  scalars->gradient_norm = norm;
  scalars->adamw = adamw;
}

}  // namespace

void finish_step(Queue& queue, const FinishStep& arguments, StepScalars* scalars) {
  const std::int64_t count = arguments.totals.elements();
  ensure(count >= 1, "finish_step: totals lack the loss");
  finish<<<1, block_threads, 0, stream_of(queue)>>>(arguments.totals.data<double>(), count, arguments.clip,
                                                    arguments.inputs, scalars);
  check_launch();
}

}  // namespace penstock::ops
