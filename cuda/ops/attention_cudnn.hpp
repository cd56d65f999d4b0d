// SPDX-License-Identifier: Apache-2.0
#pragma once
// cuDNN's fused attention (FlashAttention kernels made for the device), where it applies; our own kernels do the rest.
//
// It applies to bfloat16 without dropout (our masks are the same on every path, and cuDNN's generator has no global
// counters), heads of up to 128 channels in multiples of 8, more than one position, rows at multiples of 16 bytes, and
// devices of compute capability 8.0 or newer. Both paths keep the same log-sum-exp: forward and backward need not take
// the same one. The choice depends only on shape, device and libraries, so a restart makes it again.
//
// If bits must repeat, the backward pass is cuDNN's deterministic one. It keeps the gradients of the scores in memory
// (2 bytes each), so each launch has at most as many heads as keep that below 1 GiB, and at least one.

#include <cstddef>

#include "device/queue.hpp"
#include "ops/attention.hpp"
#include "tensor/dtype.hpp"

namespace penstock::ops {

/// The version of the loaded library; 0 without it.
std::size_t cudnn_version();

/// Enqueues the operation and returns true if cuDNN has a plan for it; otherwise does nothing and returns false. Throws
/// SystemError if cuDNN cannot start, fails with a plan that it made, or makes none for a temporary reason (no memory,
/// a missing part): the next start would take the other path, and bits would change.
bool attention_by_cudnn(Queue& queue, const Attention& arguments);
bool attention_gradient_by_cudnn(Queue& queue, const AttentionGradient& arguments);

/// Creates the handle and the plans of both. Returns the bytes of workspace that the plans need; 0 without plans.
std::size_t prepare_attention_by_cudnn(Queue& queue, const AttentionShape& shape, DType type, const Dropout& dropout);

/// Bytes of the queue's workspace that the two functions above take, 0 if they never apply: for the heads of one launch
/// the gradients of the scores, T (to whole tiles of 64) times T (of 128) times 2 bytes, and T row sums in float32.
/// That is what cuDNN 9.19 needs on compute capability 8.0, 9.0 and 12.0 (on 10.0 only the sums). If bits need not
/// repeat, q's gradient in float32 takes the place of the scores'. If a version needs more, the workspace grows.
std::size_t attention_workspace_of_cudnn(const AttentionShape& shape, DType type);

}  // namespace penstock::ops
