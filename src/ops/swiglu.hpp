// SPDX-License-Identifier: Apache-2.0
#pragma once
// The gated hidden layer of the Llama family (SwiGLU: Shazeer, arXiv 2002.05202). N rows (tokens), F local hidden
// channels. Tensors are float32 or bfloat16 (all of one call the same); intermediate values are float32.

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// y = silu(gate) * up, silu(g) = g / (1 + exp(-g)). Calls with equal rows give equal bits, wherever the rows are.
struct Swiglu {
  TensorView gate_up;  ///< [N, 2 * F]: a row holds gate, then up
  TensorView y;        ///< [N, F]
};
void swiglu(Queue& queue, const Swiglu& arguments);

/// With s = 1 / (1 + exp(-gate)): dgate = dy * up * s * (1 + gate * (1 - s)), dup = dy * gate * s.
struct SwigluGradient {
  TensorView gate_up;   ///< [N, 2 * F]
  TensorView dy;        ///< [N, F]
  TensorView dgate_up;  ///< [N, 2 * F], overwritten; may be gate_up
};
void swiglu_gradient(Queue& queue, const SwigluGradient& arguments);

}  // namespace penstock::ops
