// SPDX-License-Identifier: Apache-2.0
#pragma once
// cuDNN's fused attention (FlashAttention kernels made for the device), where it fits; our own kernels do the rest.
//
// It fits bfloat16 without dropout (our masks are the same on every path, and cuDNN's generator knows no global
// counters), heads of up to 128 channels in multiples of 8, more than one position, rows at multiples of 16 bytes, and
// devices of compute capability 8.0 or newer. Both paths keep the same log-sum-exp: forward and backward need not take
// the same one. Which one is taken depends on shape, device and libraries only, so a restart takes it again.
//
// Where bits are to repeat, the backward pass is cuDNN's deterministic one. It keeps the gradients of the scores in
// memory (2 bytes each), and is therefore launched for as many heads at once as keep that below 1 GiB, at least one.

#include <cstddef>

#include "device/queue.hpp"
#include "ops/attention.hpp"
#include "tensor/dtype.hpp"

namespace penstock::ops {

/// Of the library that is loaded; 0 without it.
std::size_t cudnn_version();

/// Enqueues the operation and returns true where cuDNN has a plan for it; else does nothing and returns false. Throws
/// SystemError where cuDNN cannot start, fails at a plan that it made, or makes none for a reason that may pass (no
/// memory, a part of it that is missing): the next start would take the other path, and bits would change.
bool attention_by_cudnn(Queue& queue, const Attention& arguments);
bool attention_gradient_by_cudnn(Queue& queue, const AttentionGradient& arguments);

/// Makes the handle and the plans of both. Returns the bytes of workspace that the plans ask for; 0 without plans.
std::size_t prepare_attention_by_cudnn(Queue& queue, const AttentionShape& shape, DType type, const Dropout& dropout);

/// Bytes of the queue's workspace that the two above take, 0 where they never apply: for the heads of one launch the
/// gradients of the scores, T (to whole tiles of 64) times T (of 128) times 2 bytes, and T row sums in float32. That is
/// what cuDNN 9.19 asks for on compute capability 8.0, 9.0 and 12.0 (on 10.0 the sums alone). Where bits need not
/// repeat, q's gradient in float32 takes the place of the scores'. Where a version asks for more, the workspace grows
/// to it.
std::size_t attention_workspace_of_cudnn(const AttentionShape& shape, DType type);

}  // namespace penstock::ops
