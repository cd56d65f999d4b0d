// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rotary position embedding (Su et al., arXiv 2104.09864) of q and k in packed rows, after an RMSNorm of each head if
// the family has one (Qwen3). N rows, of which row n is at position n mod T; H heads of q, K of k and of v, of D
// channels each (D even). Tensors are float32 or bfloat16 (all of one call the same); the table, weights, statistics
// and intermediate values are float32.

#include "ops/attention.hpp"

namespace penstock::ops {

/// Of each head x of q and k: (y_c, y_{c+D/2}) = (n_c cos - n_{c+D/2} sin, n_{c+D/2} cos + n_c sin) for c < D / 2, with
/// the angles of c and the row's position: halves are rotated, as in Hugging Face's files. n is x, or with norms
/// (x * rstd, rounded to the type) * weight, rstd = 1 / sqrt(mean of x^2 + epsilon) over the head's D channels. v is
/// copied.
struct Rotate {
  AttentionShape shape;   ///< only sequence (T), heads, kv_heads and channels are used
  TensorView qkv;         ///< [N, (H + 2 * K) * D]
  TensorView table;       ///< [at least T, D] float32, of rotary_table
  TensorView query_norm;  ///< [D] float32, the weight of all heads of q; absent: no norms
  TensorView key_norm;    ///< [D] float32, of k; absent together with query_norm
  TensorView rstd;        ///< [N, H + K] float32, kept for the backward pass; absent without norms
  TensorView out;         ///< [N, (H + 2 * K) * D]; may be qkv, but the gradient of norms needs the former qkv
  float epsilon = 1e-6F;
};
void rotate(Queue& queue, const Rotate& arguments);

/// dn = the rotation's transpose of dout. Without norms dqkv is dn; with z = x * rstd and g = dn * weight it is
/// rstd * (g - z * mean of g z), and the weights' gradients are the sums over rows and heads of dn * z, added to the
/// present values or overwriting them. v's gradient is copied.
struct RotateGradient {
  AttentionShape shape;
  TensorView dout;         ///< [N, (H + 2 * K) * D]
  TensorView table;        ///< [at least T, D] float32
  TensorView qkv;          ///< [N, (H + 2 * K) * D], what `rotate` read; this and the following absent without norms
  TensorView query_norm;   ///< [D] float32
  TensorView key_norm;     ///< [D] float32
  TensorView rstd;         ///< [N, H + K] float32
  TensorView dquery_norm;  ///< [D] float32
  TensorView dkey_norm;    ///< [D] float32
  TensorView dqkv;         ///< [N, (H + 2 * K) * D], type of dout; may be dout
  bool accumulate = true;  ///< of dquery_norm and dkey_norm
};
void rotate_gradient(Queue& queue, const RotateGradient& arguments);

/// Ends the program if a caller's tensors do not match.
void check_rotation(const Rotate& arguments);
void check_rotation(const RotateGradient& arguments);

/// Bytes of the queue's workspace that the gradient needs with norms, with `threads` threads; nothing else here needs
/// any.
std::size_t rotate_workspace(std::int64_t rows, std::int64_t channels, int threads);

}  // namespace penstock::ops
