// SPDX-License-Identifier: Apache-2.0
#pragma once
// Small operations that many others need.

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// to = from, elements in order, between float32 and bfloat16 (round to nearest even) or equal types.
void cast(Queue& queue, TensorView from, TensorView to);

/// Sets every byte to zero.
void zero(Queue& queue, TensorView tensor);

}  // namespace penstock::ops
