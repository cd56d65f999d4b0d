// SPDX-License-Identifier: Apache-2.0
#pragma once
// Recomputation: what a block keeps of its forward pass, and what its backward pass computes again instead. A policy is
// the set of parts that are kept; memory, work and messages follow from it.
//
// Collectives of the tensor axis in a block's forward pass, where rows are cut: gather, sum, gather, sum. The second
// sum is never needed again. Every policy's backward pass needs both gathers once: `none` for the weight gradients (it
// keeps own rows only), `block` before it computes again, and its weight gradients find them gathered. So what is left
// is the first sum: `block` takes it again, `block_local` keeps it, as the `middle` that it joined, and sends what
// `none` sends.

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "model/model_shape.hpp"

namespace penstock {

/// What a block's backward pass reads of its forward pass, in the order of computing. (The product behind the MLP's
/// hidden layer is none of it: nothing reads its result but the next block.)
enum class BlockPart : unsigned {
  input,             ///< of the block
  attention_norm,    ///< normalized rows, mean, reciprocal deviation (8 bytes a row, and made with the rows again)
  attention_tokens,  ///< normalized rows of all tensor ranks: a gather, where rows are cut
  qkv,
  attention,       ///< out, log-sum-exp
  middle,          ///< the attention branch, summed over the tensor ranks, has joined the stream
  mlp_norm,        ///< as attention_norm
  mlp_tokens,      ///< as attention_tokens
  pre_activation,  ///< the MLP before GELU
  hidden,          ///< and after it
};

/// A set of them.
class BlockParts {
 public:
  constexpr BlockParts(std::initializer_list<BlockPart> parts) {
    for (const BlockPart part : parts) bits_ |= bit(part);
  }
  constexpr bool has(BlockPart part) const { return (bits_ & bit(part)) != 0; }
  constexpr BlockParts operator|(BlockParts other) const { return BlockParts(bits_ | other.bits_); }
  constexpr BlockParts operator&(BlockParts other) const { return BlockParts(bits_ & other.bits_); }
  constexpr BlockParts without(BlockParts other) const { return BlockParts(bits_ & ~other.bits_); }
  constexpr bool operator==(const BlockParts&) const = default;

 private:
  constexpr explicit BlockParts(unsigned bits) : bits_(bits) {}
  static constexpr unsigned bit(BlockPart part) { return 1U << static_cast<unsigned>(part); }
  unsigned bits_ = 0;
};

/// All that a forward pass of this shape leaves. Rows of other tensor ranks belong to it only where a block is computed
/// again: else the weight gradient gathers them a second time.
BlockParts all_parts(const ModelShape& shape);
/// What stays, of every microbatch in flight.
BlockParts kept_parts(const ModelShape& shape);
/// What the input gradient computes again before it begins: all others.
BlockParts remade_parts(const ModelShape& shape);
/// What the weight gradient reads of them: a split backward holds it from I to W, so that nothing is computed thrice.
BlockParts held_parts(const ModelShape& shape);

/// Whether GELU is an operation of its own, so that it can be computed again without its product. Then it is one in the
/// forward pass, too: a product that has GELU in it need not have the same bits.
bool has_gelu_apart(const ModelShape& shape);

/// What the policy adds to one block's passes of one microbatch on this rank, against `none`.
struct RecomputeCost {
  double flops = 0;  ///< of products and attention, counted as in part_costs
  /// That norms, the sum before one, and a GELU apart read and write, each tensor once; what products and attention
  /// move is in their time. A GELU apart also reads its input in the forward pass.
  std::int64_t bytes_moved = 0;
  std::int64_t bytes_sent = 0;  ///< on the tensor axis
};
RecomputeCost recompute_cost(const ModelShape& shape);
RecomputeCost operator*(const RecomputeCost& cost, std::int64_t times);

/// "none", "elementwise", "attention", "block", "block-local". Throws InputError for another word.
Recompute parse_recompute(std::string_view word);
std::string_view text(Recompute policy);

}  // namespace penstock
