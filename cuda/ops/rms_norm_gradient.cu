// SPDX-License-Identifier: Apache-2.0
#include "ops/rms_norm.hpp"

#include "ops/norm_gradient_rows.cuh"

namespace penstock::ops {

void rms_norm_gradient(Queue& queue, const RmsNormGradient& arguments) {
  if (arguments.x.elements() == 0) return;
  with_gradient_types(arguments.x.type(), arguments.dy.type(), [&]<typename T, typename Gradient>(T, Gradient) {
    launch_norm_gradient(queue, NormGradient<T, Gradient, NormKind::rms>(arguments), arguments.dweight.data<float>(),
                         nullptr, arguments.accumulate);
  });
}

std::size_t rms_norm_workspace(std::int64_t rows, std::int64_t channels, int) {
  return norm_gradient_bytes(rows, channels, NormKind::rms);
}

}  // namespace penstock::ops
