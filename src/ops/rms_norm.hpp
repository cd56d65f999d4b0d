// SPDX-License-Identifier: Apache-2.0
#pragma once
// RMSNorm (Zhang and Sennrich, arXiv 1910.07467), as in the Llama family. R rows (tokens), C channels. Tensors are
// float32 or bfloat16 (all of one call the same); weights and statistics are float32. Sums are taken in float32 or
// better.

#include "ops/layer_norm.hpp"

namespace penstock::ops {

/// y = (x * rstd, rounded to the type of y) * weight, rstd = 1 / sqrt(mean of x^2 + epsilon), over the C channels of a
/// row. Like Hugging Face's LlamaRMSNorm it rounds before the weight; that matters only in bfloat16.
struct RmsNorm {
  TensorView x;       ///< [R, C]
  TensorView weight;  ///< [C] float32
  TensorView y;       ///< [R, C]
  TensorView rstd;    ///< [R] float32, kept for the backward pass
  float epsilon = 1e-6F;
};
void rms_norm(Queue& queue, const RmsNorm& arguments);

/// Residual, then RmsNorm of its output (norm.x is not read: it is residual.out), with the bits of the two one after
/// the other: recomputation relies on it.
struct ResidualRmsNorm {
  Residual residual;
  RmsNorm norm;
};
void residual_rms_norm(Queue& queue, const ResidualRmsNorm& arguments);

/// With z = x * rstd and g = dy * weight: dx = residual_gradient + rstd * (g - z * mean of g z);
/// dweight: the sum over rows of dy * z, added to the present values or overwriting them. The rounding of z is ignored.
struct RmsNormGradient {
  TensorView dy;                 ///< [R, C], also float32 when the rest is bfloat16
  TensorView x;                  ///< [R, C]
  TensorView weight;             ///< [C] float32
  TensorView rstd;               ///< [R] float32
  TensorView residual_gradient;  ///< [R, C], or absent (zero); may be dx
  TensorView dx;                 ///< [R, C]
  TensorView dweight;            ///< [C] float32
  bool accumulate = true;        ///< of dweight
};
void rms_norm_gradient(Queue& queue, const RmsNormGradient& arguments);

/// Bytes of the queue's workspace that the gradient needs, with `threads` threads; the other operations here need none.
std::size_t rms_norm_workspace(std::int64_t rows, std::int64_t channels, int threads);

}  // namespace penstock::ops
