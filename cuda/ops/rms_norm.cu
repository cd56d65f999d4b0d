// SPDX-License-Identifier: Apache-2.0
#include "ops/rms_norm.hpp"

#include "ops/norm_rows.cuh"

namespace penstock::ops {

void rms_norm(Queue& queue, const RmsNorm& arguments) {
  if (arguments.x.elements() == 0) return;
  with_device_type(arguments.x.type(),
                   [&]<typename T>(T) { launch_norm(queue, Norm<T, NormKind::rms>(arguments, arguments.x)); });
}

void residual_rms_norm(Queue& queue, const ResidualRmsNorm& arguments) {
  const TensorView& stream = arguments.residual.out;
  if (stream.elements() == 0) return;
  with_stream_types(stream.type(), arguments.residual.branch.type(), [&]<typename T, typename Branch>(T, Branch) {
    launch_residual_norm(queue, Join<T, Branch>(arguments.residual), Norm<T, NormKind::rms>(arguments.norm, stream));
  });
}

}  // namespace penstock::ops
