// SPDX-License-Identifier: Apache-2.0
#pragma once
// Cross-entropy over a vocabulary that is cut across ranks (Shoeybi et al., arXiv 1909.08053, section 3): each rank
// reduces its own columns to three numbers for each row, the ranks exchange those, and full logits are never gathered.
// N rows (tokens), V_local columns on this rank, of which the first `columns` are real and the others padding.

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// statistics[n] = (m, s, t): m the largest real local logit, s the sum of exp(logit - m) over the real local columns,
/// t the target's logit if this rank holds it, else 0. With no real columns: m = -infinity, s = 0.
struct SoftmaxStatistics {
  TensorView logits;   ///< [N, V_local] float32 or bfloat16
  TensorView targets;  ///< [N] int32, global token numbers
  std::int64_t first_token = 0;
  std::int64_t columns = 0;
  TensorView statistics;  ///< [N, 3] float32
};
void softmax_statistics(Queue& queue, const SoftmaxStatistics& arguments);

/// From all ranks' statistics, combined in rank order: loss[n] = log sum exp(logits[n]) - target's logit (nats) and,
/// in place of the logits, their gradient: (softmax - one_hot(target)) * scale, zero in padding columns.
struct SoftmaxLoss {
  TensorView logits;   ///< [N, V_local], overwritten with the gradient when `gradient` is set
  TensorView targets;  ///< [N] int32
  std::int64_t first_token = 0;
  std::int64_t columns = 0;
  TensorView statistics;  ///< [ranks, N, 3] float32
  TensorView loss;        ///< [N] float32
  float scale = 1;        ///< 1 / tokens of the step's global batch
  bool gradient = true;
};
void softmax_loss(Queue& queue, const SoftmaxLoss& arguments);

/// Both in one, for a rank that holds the whole vocabulary (N rows, V columns): loss and, in place of the logits, their
/// gradient. A backend may read the logits only once.
struct WholeSoftmaxLoss {
  TensorView logits;   ///< [N, V] float32 or bfloat16, overwritten with the gradient when `gradient` is set
  TensorView targets;  ///< [N] int32
  std::int64_t columns = 0;
  TensorView loss;  ///< [N] float32
  float scale = 1;  ///< 1 / tokens of the step's global batch
  bool gradient = true;
};
void whole_softmax_loss(Queue& queue, const WholeSoftmaxLoss& arguments);

}  // namespace penstock::ops
