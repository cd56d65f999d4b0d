// SPDX-License-Identifier: Apache-2.0
#pragma once
// Recomputation: what a block keeps of its forward pass, and what its backward pass computes again instead. A policy is
// the set of parts that are kept; memory, work and messages follow from it.
//
// Collectives of the tensor axis in a block's forward pass, if rows are cut: gather, sum, gather, sum. The second sum
// is never needed again. The backward pass of every policy needs both gathers once: `none` for the weight gradients (it
// keeps only own rows), `block` before it recomputes, and then its weight gradients reuse them. What remains is the
// first sum: `block` repeats it; `block_local` keeps its result, as the stream that it joined, and sends no more than
// `none`.

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "model/model_shape.hpp"

namespace penstock {

/// The results of a branch's forward pass that the backward pass reads, in the order of computing. (The last product of
/// the last branch is none of them: only the next block reads its result.)
enum class BranchPart : unsigned {
  input,   ///< the stream before the branch: the block's input, or the sum with an earlier branch
  norm,    ///< normalized rows and their statistics (at most 8 bytes a row, recomputed with the rows)
  tokens,  ///< normalized rows of all tensor ranks: a gather, if rows are cut
  inner,   ///< the output of the branch's first product: q, k and v, or the MLP before its activation
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

/// All results of a forward pass of this shape. Rows of other tensor ranks belong to them only if a block is
/// recomputed; otherwise the weight gradient gathers them a second time.
BlockParts all_parts(const ModelShape& shape);
/// The parts kept for every microbatch in flight.
BlockParts kept_parts(const ModelShape& shape);
/// The parts that the input gradient recomputes before it begins: all others.
BlockParts remade_parts(const ModelShape& shape);
/// Those of them that the weight gradient reads: a split backward holds them from I to W, so that nothing is computed
/// three times.
BlockParts held_parts(const ModelShape& shape);

/// Whether a branch's activation is an operation of its own. An activation that could be part of a product is separate
/// if it is recomputed without the product, and then in the forward pass, too, because the product may have other bits.
bool has_activation_apart(const ModelShape& shape, std::size_t branch);

/// The policy's extra cost in one block's passes of one microbatch on this rank, compared with `none`.
struct RecomputeCost {
  double flops = 0;  ///< of products and attention, counted as in part_costs
  /// Bytes read and written by norms, the sum before one, and a separate activation, each tensor once; memory traffic
  /// of products and attention is part of their time. An activation that was taken out of its product also reads its
  /// input in the forward pass.
  std::int64_t bytes_moved = 0;
  std::int64_t bytes_sent = 0;  ///< on the tensor axis
};
RecomputeCost recompute_cost(const ModelShape& shape);
RecomputeCost operator*(const RecomputeCost& cost, std::int64_t times);

/// "none", "elementwise", "attention", "block", "block-local". Throws InputError for another word.
Recompute parse_recompute(std::string_view word);
std::string_view text(Recompute policy);

}  // namespace penstock
