#pragma once
// The small operations that everything needs once: casts and norms.

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// to = from, elements in order, between float32 and bfloat16 (round to nearest even) or equal types.
void cast(Queue& queue, TensorView from, TensorView to);

/// Sets every byte to zero.
void zero(Queue& queue, TensorView tensor);

/// *sum (device memory) += sum of squares of a float32 tensor, in double, in an order that depends on the number of
/// elements only: blocks of 4096 elements, then the blocks' sums in order.
void add_squared_norm(Queue& queue, TensorView tensor, double* sum);

/// Bytes of the queue's workspace that the norm of so many elements needs.
std::size_t squared_norm_workspace(std::int64_t elements);

}  // namespace penstock::ops
