// SPDX-License-Identifier: Apache-2.0
#pragma once
// Causal self-attention on packed q, k, v (Vaswani et al., arXiv 1706.03762; backward from the kept log-sum-exp as in
// Dao et al., arXiv 2205.14135). B samples, T positions, H local heads of D channels; k and v have K heads of their
// own, each of which serves H / K neighbouring heads of q (grouped queries: Ainslie et al., arXiv 2305.13245). For head
// h and query t: p = softmax over the keys s that t sees of (q_t . k_s / sqrt(D)); out_t = sum_s dropout(p)_s v_s with
// k and v of head h / (H / K). Query t sees s <= t, with a window W only s > t - W: itself and the W - 1 positions
// before (as Hugging Face's Mistral: sliding_window_overlay).

#include "device/queue.hpp"
#include "ops/dropout.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

struct AttentionShape {
  std::int64_t samples = 1;     ///< B
  std::int64_t sequence = 1;    ///< T
  std::int64_t heads = 1;       ///< H, local
  std::int64_t channels = 1;    ///< D, of a head; any positive number
  std::int64_t first_head = 0;  ///< global index of local head 0, for the dropout masks
  bool repeatable = true;       ///< the gradient's bits repeat; false lets a library add in any order
  std::int64_t kv_heads = 0;    ///< K, local, a divisor of H; 0: H
  std::int64_t window = 0;      ///< W; 0: none

  constexpr std::int64_t key_heads() const { return kv_heads > 0 ? kv_heads : heads; }          ///< K
  constexpr std::int64_t heads_of_a_key() const { return heads / key_heads(); }                 ///< H / K
  constexpr std::int64_t packed_width() const { return (heads + 2 * key_heads()) * channels; }  ///< of a row of q, k, v
  /// The first position that a query sees.
  constexpr std::int64_t first_key(std::int64_t query) const {
    return window > 0 && query >= window ? query - window + 1 : 0;
  }
};

struct Attention {
  AttentionShape shape;
  TensorView qkv;  ///< [B * T, (H + 2 * K) * D]: a row holds q of all heads, then k, then v; float32 or bfloat16
  TensorView out;  ///< [B * T, H * D], type of qkv
  TensorView log_sum_exp;  ///< [B, H, T] float32, of the scaled scores, kept for the backward pass
  Dropout dropout;
  const std::uint64_t* first_sample = nullptr;  ///< device memory: sample number of sample 0
};
void attention(Queue& queue, const Attention& arguments);

struct AttentionGradient {
  AttentionShape shape;
  TensorView qkv;          ///< [B * T, (H + 2 * K) * D]
  TensorView out;          ///< [B * T, H * D], of the forward pass
  TensorView log_sum_exp;  ///< [B, H, T] float32
  TensorView dout;         ///< [B * T, H * D], type of qkv
  TensorView dqkv;         ///< [B * T, (H + 2 * K) * D], type of qkv, overwritten; may not be qkv
  Dropout dropout;
  const std::uint64_t* first_sample = nullptr;
};
void attention_gradient(Queue& queue, const AttentionGradient& arguments);

/// Prepares, before step 1, what both operations need besides their operands, for operands aligned as in an arena: the
/// library's handle and plans (which loads its parts), and a workspace of the size that the plans need. Otherwise each
/// is made at its operation's first call. Does nothing on the CPU. Throws SystemError if the library cannot start.
void prepare_attention(Queue& queue, const AttentionShape& shape, DType type, const Dropout& dropout);

/// The most workspace in bytes that attention and its gradient need, with `threads` threads; needs no device. On CUDA
/// it is cuDNN's share where cuDNN may be used (bfloat16): if bits must repeat, gradients of scores, at most 1 GiB
/// unless those of one head are more; otherwise a float32 sum for each element of q's gradient. With dropout it is not
/// used.
std::size_t attention_workspace(const AttentionShape& shape, DType type, int threads);

}  // namespace penstock::ops
