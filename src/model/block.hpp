// SPDX-License-Identifier: Apache-2.0
#pragma once
// A pre-norm transformer block: x1 = x + dropout(attention(norm(x))), out = x1 + dropout(mlp(norm(x1))).
// R rows of the residual stream here, C channels.

#include <string>

#include "model/attention_layer.hpp"
#include "model/mlp_layer.hpp"
#include "ops/layer_norm.hpp"

namespace penstock {

/// Which forward pass it is: evaluation draws no dropout; what is computed again is recorded by no tap.
enum class Pass { training, evaluation, again };

class Block {
 public:
  /// From the input gradient to the weight gradient.
  struct Held {
    AttentionLayer::Held attention;
    MlpLayer::Held mlp;
    BlockActivations remade;  ///< parts that were computed again: they stand here instead of in the shared memory
  };
  /// `halves`: those that the input gradients of its stage compute. `remade`: the parts of BlockActivations that are
  /// held, too.
  static Held take_held(const ModelShape& shape, BackwardHalves halves, BlockParts remade, Arena& arena);

  Block(ModelContext& context, int index);

  /// Reads kept.x, fills the rest of `kept` and `out` [R, C].
  void forward(const MicrobatchView& microbatch, const BlockActivations& kept, TensorView out, Pass pass) const;
  /// Computes the parts again that the policy does not keep, into `held` or, where it has no room, `slot`.
  /// gradient [R, C]: in, of the block's output; out, of its input.
  void input_gradient(const MicrobatchView& microbatch, const BlockActivations& slot, const Held& held,
                      TensorView gradient, BackwardHalves halves, Accumulate accumulate) const;
  /// The gradients of the four products' weights and biases, from what input_gradient left.
  void weight_gradient(const BlockActivations& slot, const Held& held, Accumulate accumulate) const;

 private:
  /// One of the two LayerNorms.
  struct Norm {
    Parameter weight, bias;
  };
  ops::LayerNorm attention_norm(const BlockActivations& kept) const;
  ops::LayerNorm mlp_norm(const BlockActivations& kept) const;
  void compute(const MicrobatchView& microbatch, const BlockActivations& kept, BlockParts parts, Pass pass) const;
  TensorView through_dropout(const MicrobatchView& microbatch, const ops::Dropout& dropout, TensorView gradient,
                             TensorView own_place) const;
  void record_branch(const TapName& tap, const MicrobatchView& microbatch, const ops::Residual& joined) const;

  ModelContext* context_;
  std::string name_;  ///< "blocks.3"
  AttentionLayer attention_;
  MlpLayer mlp_;
  ops::Dropout attention_dropout_;
  ops::Dropout mlp_dropout_;
  Norm attention_norm_, mlp_norm_;
};

}  // namespace penstock
