// SPDX-License-Identifier: Apache-2.0
#pragma once
// Products with a weight matrix. N rows (tokens), K inputs, M outputs. Matrices are float32 or bfloat16; every sum is
// float32. Where the inputs are bfloat16 an output may be either type (float32 for sums that go on across ranks).

#include <span>

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// y = x W^T + bias; with a place for the pre-activation u = x W^T + bias: y = gelu(u), tanh form
/// (Hendrycks and Gimpel, arXiv 1606.08415: 0.5 u (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3)))).
struct Linear {
  TensorView x;               ///< [N, K]
  TensorView weight;          ///< [M, K]
  TensorView bias;            ///< [M] float32, or absent
  TensorView y;               ///< [N, M]
  TensorView pre_activation;  ///< [N, M], type of y, kept for the backward pass; absent: no GELU. May not be y.
};
void linear(Queue& queue, const Linear& arguments);

/// dx = dy W; with the pre-activation u of the layer before: dx = (dy W) * gelu'(u).
struct LinearInputGradient {
  TensorView dy;              ///< [N, M]
  TensorView weight;          ///< [M, K]
  TensorView dx;              ///< [N, K]
  TensorView pre_activation;  ///< [N, K], type of dx, or absent. May be dx itself.
};
void linear_input_gradient(Queue& queue, const LinearInputGradient& arguments);

/// dW = dy^T x, dbias = sum of dy over rows; added to what stands there, or overwriting it. A sum that goes on is a
/// float32: dW may be bfloat16 only where it is overwritten, from bfloat16 x and dy.
struct LinearWeightGradient {
  TensorView dy;       ///< [N, M]
  TensorView x;        ///< [N, K]
  TensorView dweight;  ///< [M, K] float32 or bfloat16
  TensorView dbias;    ///< [M] float32, or absent
  bool accumulate = true;
};
void linear_weight_gradient(Queue& queue, const LinearWeightGradient& arguments);

/// All that decides how the three operations of one layer are made.
struct LinearShape {
  std::int64_t rows = 1;        ///< N
  std::int64_t inputs = 1;      ///< K
  std::int64_t outputs = 1;     ///< M
  DType type = DType::float32;  ///< of x, weight and dy
  DType y = DType::float32;     ///< of y and its pre-activation
  DType dx = DType::float32;    ///< of dx
  DType dweight = DType::float32;
  bool bias = false;            ///< added to y
  bool bias_gradient = false;   ///< dbias is taken; of a bias that is added elsewhere, too
  bool activated = false;       ///< y is gelu of a pre-activation
  bool slope = false;           ///< dx is multiplied by gelu' of the pre-activation of the layer before
  bool slope_in_place = false;  ///< whose place dx takes
  bool accumulate = true;       ///< of the weight gradient

  bool operator==(const LinearShape&) const = default;
};

/// Makes what the operations of these shapes need besides their operands before step 1, for operands that lie as an
/// arena lays them (128 bytes): the library's handle, and its plans. What `use_linear_choices` chose is there already:
/// it comes first. Without it each comes at its operation's first call. Nothing to do on the CPU, whose primitives are
/// made for a shape at its first call.
void prepare_linears(Queue& queue, std::span<const LinearShape> shapes);

/// Bytes of the queue's workspace that the three operations need at most, with `threads` threads.
std::size_t linear_workspace(const LinearShape& shape, int threads);

}  // namespace penstock::ops
