// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a block's forward pass leaves for its backward pass. N tokens of the microbatch, R rows here, C channels,
// B samples of T positions, F local hidden channels.

#include "model/recompute.hpp"
#include "tensor/arena.hpp"

namespace penstock {

/// Of one microbatch. Where the tensors of a part lie, the policy decides: in a memory of each microbatch's own, or in
/// one that all blocks fill in turn.
struct BlockActivations {
  TensorView x;                               ///< [R, C] the block's input
  TensorView attention_mean, attention_rstd;  ///< [R] float32
  TensorView attention_input;                 ///< [R, C] normalized
  TensorView attention_tokens;                ///< [N, C] the same of all tensor ranks; may be absent
  TensorView qkv;                             ///< [N, 3 * local heads' channels]
  TensorView attended;                        ///< [N, local heads' channels]
  TensorView log_sum_exp;                     ///< [B, local heads, T] float32
  TensorView middle;                          ///< [R, C] after the attention branch joined
  TensorView mlp_mean, mlp_rstd;              ///< [R] float32
  TensorView mlp_input;                       ///< [R, C] normalized
  TensorView mlp_tokens;                      ///< [N, C] the same of all tensor ranks; may be absent
  TensorView pre_activation;                  ///< [N, F]; a split backward puts its gradient there
  TensorView hidden;                          ///< [N, F] after GELU
};

/// Tensors of `parts` from the arena; those of the other parts are `otherwise`'s.
BlockActivations take_activations(const ModelShape& shape, BlockParts parts, MemoryUse use, Arena& arena,
                                  const BlockActivations& otherwise = {});

/// The tensors of `above` where it has them, else those of `below`.
BlockActivations laid_over(const BlockActivations& below, const BlockActivations& above);

}  // namespace penstock
