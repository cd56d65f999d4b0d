// SPDX-License-Identifier: Apache-2.0
#pragma once
// Recomputation: what a block keeps of its forward pass, and what its backward pass computes again instead. A policy is
// the set of parts that are kept; memory, work and messages follow from it.
//
// Collectives of the tensor axis in a block's forward pass, where rows are cut: gather, sum, gather, sum. The second
// sum is never needed again. Every policy's backward pass needs both gathers once: `none` for the weight gradients (it
// keeps own rows only), `block` before it computes again, and its weight gradients find them gathered. So what is left
// is the first sum: `block` takes it again, `block_local` keeps it, as the stream that it joined, and sends what
// `none` sends.

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "model/model_shape.hpp"

namespace penstock {

/// What a block's backward pass reads of a branch's forward pass, in the order of computing. (The product that ends the
/// last branch is none of it: nothing reads its result but the next block.)
enum class BranchPart : unsigned {
  input,   ///< the stream before the branch: the block's input, or where an earlier branch has joined it
  norm,    ///< normalized rows and their statistics (at most 8 bytes a row, and made with the rows again)
  tokens,  ///< normalized rows of all tensor ranks: a gather, where rows are cut
  inner,   ///< what the branch's first product makes: q, k and v, or the MLP before its activation
  core,    ///< attention's output and log-sum-exp, or the MLP after its activation
};

struct BlockPart {
  std::size_t branch = 0;
  BranchPart part = BranchPart::input;
};

/// A set of parts of a block.
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
  static constexpr unsigned bit(BlockPart part) {
    constexpr unsigned parts_of_a_branch = 5;
    return 1U << (static_cast<unsigned>(part.branch) * parts_of_a_branch + static_cast<unsigned>(part.part));
  }
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

/// Whether a branch's activation is an operation of its own. Where it could be part of a product, it is one if it is
/// computed again without its product, and then in the forward pass, too: the product need not have the same bits.
bool has_activation_apart(const ModelShape& shape, std::size_t branch);

/// What the policy adds to one block's passes of one microbatch on this rank, against `none`.
struct RecomputeCost {
  double flops = 0;  ///< of products and attention, counted as in part_costs
  /// That norms, the sum before one, and an activation apart read and write, each tensor once; what products and
  /// attention move is in their time. An activation that was taken out of its product also reads its input in the
  /// forward pass.
  std::int64_t bytes_moved = 0;
  std::int64_t bytes_sent = 0;  ///< on the tensor axis
};
RecomputeCost recompute_cost(const ModelShape& shape);
RecomputeCost operator*(const RecomputeCost& cost, std::int64_t times);

/// "none", "elementwise", "attention", "block", "block-local". Throws InputError for another word.
Recompute parse_recompute(std::string_view word);
std::string_view text(Recompute policy);

}  // namespace penstock
