// SPDX-License-Identifier: Apache-2.0
#pragma once
// Residual stream and LayerNorm (Ba et al., arXiv 1607.06450), with the dropout of a branch that joins the stream.
// R rows (tokens), C channels. Tensors are float32 or bfloat16 (all of one call the same); weights, biases and
// statistics are float32. Means and sums are taken in float32 or better.

#include "device/queue.hpp"
#include "ops/dropout.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

inline constexpr float layer_norm_epsilon = 1e-5F;

/// y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(variance + epsilon), over the C channels of a row.
struct LayerNorm {
  TensorView x;       ///< [R, C]
  TensorView weight;  ///< [C] float32
  TensorView bias;    ///< [C] float32
  TensorView y;       ///< [R, C]
  TensorView mean;    ///< [R] float32, kept for the backward pass
  TensorView rstd;    ///< [R] float32, kept for the backward pass
};
void layer_norm(Queue& queue, const LayerNorm& arguments);

/// out = residual + dropout(branch + bias).
struct Residual {
  TensorView residual;  ///< [R, C]; absent: out = dropout(branch + bias), the branch alone
  TensorView branch;    ///< [R, C], also float32 when the rest is bfloat16
  TensorView bias;      ///< [C] float32; absent: none
  TensorView out;       ///< [R, C]; may be branch or residual
  Dropout dropout;
  TokenRows rows;
};
void residual(Queue& queue, const Residual& arguments);

/// Residual, then LayerNorm of its output (norm.x is not read: it is residual.out), with the bits of the two one after
/// the other: recomputation relies on it.
struct ResidualLayerNorm {
  Residual residual;
  LayerNorm norm;
};
void residual_layer_norm(Queue& queue, const ResidualLayerNorm& arguments);

/// dx = residual_gradient + (gradient of LayerNorm with respect to x, from dy); dweight and dbias: sums over rows,
/// added to the present values or overwriting them.
struct LayerNormGradient {
  TensorView dy;                 ///< [R, C], also float32 when the rest is bfloat16
  TensorView x;                  ///< [R, C]
  TensorView weight;             ///< [C] float32
  TensorView mean;               ///< [R] float32
  TensorView rstd;               ///< [R] float32
  TensorView residual_gradient;  ///< [R, C], or absent (zero); may be dx
  TensorView dx;                 ///< [R, C]
  TensorView dweight;            ///< [C] float32
  TensorView dbias;              ///< [C] float32
  bool accumulate = true;        ///< of dweight and dbias
};
void layer_norm_gradient(Queue& queue, const LayerNormGradient& arguments);

/// Bytes of the queue's workspace that the gradient needs, with `threads` threads; the other operations here need none.
std::size_t layer_norm_workspace(std::int64_t rows, std::int64_t channels, int threads);

/// dbranch = dropout mask * scale * dout: the gradient of a branch's output (and of its bias, row by row).
struct DropoutGradient {
  TensorView dout;     ///< [R, C]
  TensorView dbranch;  ///< [R, C]; may be dout
  Dropout dropout;     ///< inactive: a copy
  TokenRows rows;
};
void dropout_gradient(Queue& queue, const DropoutGradient& arguments);

}  // namespace penstock::ops
