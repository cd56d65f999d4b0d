// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a block's forward pass stores for its backward pass. N tokens of the microbatch, R rows here, C channels,
// B samples of T positions.

#include <array>

#include "model/recompute.hpp"
#include "tensor/arena.hpp"

namespace penstock {

/// For one branch and one microbatch. The policy decides where the tensors of a part are: in separate memory for each
/// microbatch, or in memory that all blocks fill in turn.
struct BranchActivations {
  TensorView x;           ///< [R, C] the stream before the branch
  TensorView mean, rstd;  ///< [R] float32
  TensorView normalized;  ///< [R, C]
  TensorView tokens;      ///< [N, C] the same of all tensor ranks; may be absent
  TensorView inner;       ///< [N, inner channels] of the first product; a split backward may put its gradient there
  TensorView rotated;     ///< [N, inner channels] attention's input, if that is not `inner`
  TensorView head_rstd;   ///< [N, local heads of q and k] float32, of norms of heads; otherwise absent
  TensorView core;        ///< [N, core channels]
  TensorView statistics;  ///< [B, local heads, T] float32, log-sum-exp of attention; absent in an MLP
};

struct BlockActivations {
  std::array<BranchActivations, most_branches> branches;

  BranchActivations& operator[](std::size_t branch) { return branches[branch]; }
  const BranchActivations& operator[](std::size_t branch) const { return branches[branch]; }
  /// [R, C] the block's input.
  const TensorView& input() const { return branches.front().x; }
};

/// Tensors of `parts` from the arena; those of the other parts are `otherwise`'s.
BlockActivations take_activations(const ModelShape& shape, BlockParts parts, MemoryUse use, Arena& arena,
                                  const BlockActivations& otherwise = {});

/// The tensors of `above` if it has them, otherwise those of `below`.
BlockActivations laid_over(const BlockActivations& below, const BlockActivations& above);

}  // namespace penstock
