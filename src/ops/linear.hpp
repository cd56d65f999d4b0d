#pragma once
// Products with a weight matrix. N rows (tokens), K inputs, M outputs. Matrices are float32 or bfloat16; every sum is
// float32. Where the inputs are bfloat16 an output may be either type (float32 for sums that go on across ranks).

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
  TensorView pre_activation;  ///< [N, M], kept for the backward pass; absent: no GELU. May not be y.
};
void linear(Queue& queue, const Linear& arguments);

/// dx = dy W; with the pre-activation u of the layer before: dx = (dy W) * gelu'(u).
struct LinearInputGradient {
  TensorView dy;              ///< [N, M]
  TensorView weight;          ///< [M, K]
  TensorView dx;              ///< [N, K]
  TensorView pre_activation;  ///< [N, K], or absent. May be dx itself.
};
void linear_input_gradient(Queue& queue, const LinearInputGradient& arguments);

/// dW = dy^T x, dbias = sum of dy over rows; added to what stands there, or overwriting it.
struct LinearWeightGradient {
  TensorView dy;       ///< [N, M]
  TensorView x;        ///< [N, K]
  TensorView dweight;  ///< [M, K] float32
  TensorView dbias;    ///< [M] float32, or absent
  bool accumulate = true;
};
void linear_weight_gradient(Queue& queue, const LinearWeightGradient& arguments);

}  // namespace penstock::ops
