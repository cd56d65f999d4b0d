// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// y = gelu(u), tanh form, element by element: the activation of `linear` as an operation of its own. Calls with equal
/// u give equal bits; those of a library's fused product (linear on CUDA) may differ.
struct Gelu {
  TensorView pre_activation;  ///< u, any shape
  TensorView y;               ///< as many elements of the same type
};
void gelu(Queue& queue, const Gelu& arguments);

}  // namespace penstock::ops
