// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sums on one rank; sums across ranks are the Communicator's.

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// *sum (device memory) += the sum of a float32 tensor's elements, added in double, in an order that depends only on
/// their number.
void add_sum(Queue& queue, TensorView tensor, double* sum);

/// out = first + second, float32, element by element; out may be either.
void add(Queue& queue, TensorView first, TensorView second, TensorView out);

}  // namespace penstock::ops
