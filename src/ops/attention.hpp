// SPDX-License-Identifier: Apache-2.0
#pragma once
// Causal self-attention on packed q, k, v (Vaswani et al., arXiv 1706.03762; backward from the kept log-sum-exp as in
// Dao et al., arXiv 2205.14135). B samples, T positions, H local heads of D channels.
// For head h and query t: p = softmax over keys s <= t of (q_t . k_s / sqrt(D)); out_t = sum_s dropout(p)_s v_s.

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
  bool repeatable = true;       ///< the gradient's bits repeat; false lets a library add in the order that comes
};

struct Attention {
  AttentionShape shape;
  TensorView qkv;          ///< [B * T, 3 * H * D]: a row holds q of all heads, then k, then v; float32 or bfloat16
  TensorView out;          ///< [B * T, H * D], type of qkv
  TensorView log_sum_exp;  ///< [B, H, T] float32, of the scaled scores, kept for the backward pass
  Dropout dropout;
  const std::uint64_t* first_sample = nullptr;  ///< device memory: sample number of sample 0
};
void attention(Queue& queue, const Attention& arguments);

struct AttentionGradient {
  AttentionShape shape;
  TensorView qkv;          ///< [B * T, 3 * H * D]
  TensorView out;          ///< [B * T, H * D], of the forward pass
  TensorView log_sum_exp;  ///< [B, H, T] float32
  TensorView dout;         ///< [B * T, H * D], type of qkv
  TensorView dqkv;         ///< [B * T, 3 * H * D], type of qkv, overwritten; may not be qkv
  Dropout dropout;
  const std::uint64_t* first_sample = nullptr;
};
void attention_gradient(Queue& queue, const AttentionGradient& arguments);

/// Makes what both operations need besides their operands before step 1, for operands that lie as an arena lays them:
/// the library's handle and plans (and with them loads its parts), and a workspace as large as those plans really ask
/// for. Without it each comes at its operation's first call. Nothing to do on the CPU. Throws SystemError where the
/// library cannot start.
void prepare_attention(Queue& queue, const AttentionShape& shape, DType type, const Dropout& dropout);

/// Bytes of the queue's workspace that attention and its gradient need at most, with `threads` threads; no device is
/// asked. On CUDA it is cuDNN's share where cuDNN may do it (bfloat16): where bits repeat, gradients of scores, at most
/// 1 GiB of them unless those of one head are more; else a float32 sum for each element of q's gradient. With dropout
/// it is not touched.
std::size_t attention_workspace(const AttentionShape& shape, DType type, int threads);

}  // namespace penstock::ops
