// SPDX-License-Identifier: Apache-2.0
#pragma once
// A block: residual branches, one after the other, x <- x + dropout(branch(norm(x))).
// R rows of the residual stream here, C channels.

#include <array>
#include <string>
#include <vector>

#include "model/branch.hpp"

namespace penstock {

/// The kind of forward pass: evaluation has no dropout; recomputed values are not recorded by taps.
enum class Pass { training, evaluation, again };

class Block {
 public:
  /// From the input gradient to the weight gradient.
  struct Held {
    std::array<Branch::Held, most_branches> branches;
    BlockActivations remade;  ///< recomputed parts, which are here instead of in the shared memory
  };
  /// `halves`: those that the input gradients of its stage compute. `remade`: the parts of BlockActivations that are
  /// held, too.
  static Held take_held(const ModelShape& shape, BackwardHalves halves, BlockParts remade, Arena& arena);

  Block(ModelContext& context, int index);

  /// The forward pass, first part: fills these parts of `kept` from kept.input() and the parts before them. What is
  /// computed again is only some of them; whatever the pass, a part's bits are the same.
  void compute(const MicrobatchView& microbatch, const BlockActivations& kept, BlockParts parts, Pass pass) const;
  /// Second part: the block's output, `out` [R, C].
  void hand_on(const MicrobatchView& microbatch, const BlockActivations& kept, TensorView out, Pass pass) const;
  /// Computes the parts again that the policy does not keep, into `held` or, where it has no room, `slot`.
  /// gradient [R, C]: in, of the block's output; out, of its input.
  void input_gradient(const MicrobatchView& microbatch, const BlockActivations& slot, const Held& held,
                      TensorView gradient, BackwardHalves halves, Accumulate accumulate) const;
  /// The gradients of the products' weights and biases, from what input_gradient stored.
  void weight_gradient(const BlockActivations& slot, const Held& held, Accumulate accumulate) const;

 private:
  void record_branch(const Branch& branch, const MicrobatchView& microbatch, const ops::Residual& joined) const;

  ModelContext* context_;
  std::string name_;  ///< "blocks.3"
  std::vector<Branch> branches_;
  std::vector<std::string> gradient_taps_;  ///< ".attention.gradient", by branch
};

}  // namespace penstock
