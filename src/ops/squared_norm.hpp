// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sums of squares of a list of pieces, for a global norm.

#include <span>

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// n elements, and the destination of the sum of their squares.
struct NormPiece {
  TensorView tensor;  ///< [n] float32 or bfloat16
  TensorView addend;  ///< [n] float32 or bfloat16: the elements' second part; or absent
  TensorView sum;     ///< [1] float64, added to
};

/// For each piece: sum += the sum of squares of tensor + addend (which is a float32), in double, in an order that
/// depends only on the number of its elements: blocks of a fixed size, then the blocks' sums. Pieces that share a sum
/// are neighbours and are added in the order of the list.
void add_squared_norms(Queue& queue, std::span<const NormPiece> pieces);

/// Bytes of the queue's workspace that the pieces need.
std::size_t squared_norms_workspace(std::span<const NormPiece> pieces);

}  // namespace penstock::ops
