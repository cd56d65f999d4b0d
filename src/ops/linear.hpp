// SPDX-License-Identifier: Apache-2.0
#pragma once
// Products with a weight matrix. N rows (tokens), K inputs, M outputs. Matrices are float32 or bfloat16; every sum is
// float32. With bfloat16 inputs an output may be of either type (float32 for sums that continue across ranks).

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

/// dW = dy^T x, dbias = sum of dy over rows; added to the present values or overwriting them. A sum that continues is
/// float32: dW may be bfloat16 only if it is overwritten, from bfloat16 x and dy.
struct LinearWeightGradient {
  TensorView dy;       ///< [N, M]
  TensorView x;        ///< [N, K]
  TensorView dweight;  ///< [M, K] float32 or bfloat16
  TensorView dbias;    ///< [M] float32, or absent
  bool accumulate = true;
};
void linear_weight_gradient(Queue& queue, const LinearWeightGradient& arguments);

/// Everything that determines how the three operations of one layer are computed.
struct LinearShape {
  std::int64_t rows = 1;        ///< N
  std::int64_t inputs = 1;      ///< K
  std::int64_t outputs = 1;     ///< M
  DType type = DType::float32;  ///< of x, weight and dy
  DType y = DType::float32;     ///< of y and its pre-activation
  DType dx = DType::float32;    ///< of dx
  DType dweight = DType::float32;
  bool bias = false;            ///< added to y
  bool bias_gradient = false;   ///< dbias is computed, also for a bias that is added elsewhere
  bool activated = false;       ///< y is gelu of a pre-activation
  bool slope = false;           ///< dx is multiplied by gelu' of the pre-activation of the layer before
  bool slope_in_place = false;  ///< dx overwrites that pre-activation
  bool accumulate = true;       ///< of the weight gradient

  bool operator==(const LinearShape&) const = default;
};

/// Prepares, before step 1, what the operations of these shapes need besides their operands, for operands aligned as in
/// an arena (128 bytes): the library's handle and plans. Call `use_linear_choices` before it. Otherwise each is made at
/// its operation's first call. Does nothing on the CPU, whose primitives are made at the first call of a shape.
void prepare_linears(Queue& queue, std::span<const LinearShape> shapes);

/// The most workspace in bytes that the three operations need, with `threads` threads.
std::size_t linear_workspace(const LinearShape& shape, int threads);

}  // namespace penstock::ops
