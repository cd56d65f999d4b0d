// SPDX-License-Identifier: Apache-2.0
#pragma once
// GELU of one number: the formula of all kernels that contain it.

#include <cuda_runtime.h>

namespace penstock::ops {

inline constexpr float gelu_linear = 0.7978845608028654F;  // sqrt(2 / pi)
inline constexpr float gelu_cubic = 0.044715F;

/// (1 + tanh(z)) / 2 with GELU's z(u), as a logistic function, which keeps its digits where tanh is near -1.
__device__ inline float gelu_gate(float u) {
  return 1.0F / (1.0F + expf(-2.0F * gelu_linear * (u + gelu_cubic * u * u * u)));
}

__device__ inline float gelu(float u) { return u * gelu_gate(u); }

__device__ inline float gelu_slope(float u) {
  if (u > 20.0F) return 1.0F;  // beyond, the gate is 0 or 1 and u^3 might overflow
  if (u < -20.0F) return 0.0F;
  const float gate = gelu_gate(u);
  return gate + 2.0F * u * gate * (1.0F - gate) * gelu_linear * (1.0F + 3.0F * gelu_cubic * u * u);
}

}  // namespace penstock::ops
