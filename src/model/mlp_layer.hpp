// SPDX-License-Identifier: Apache-2.0
#pragma once
// The MLP of a block: up (column-parallel, bias and GELU) and down (row-parallel).
// N tokens of the microbatch, R rows here, C channels, F local hidden channels (4 C / tensor ranks).

#include <string>

#include "model/backward.hpp"
#include "model/model_context.hpp"
#include "ops/linear.hpp"

namespace penstock {

class MlpLayer {
 public:
  /// What the input gradient leaves for the weight gradient.
  struct Held {
    TensorView branch_gradient;  ///< [R, C]
    TensorView hidden_gradient;  ///< [N, F] of the pre-activation; absent: it takes the pre-activation's place
  };
  /// The two products; the bias of the second is added to its partial sums later, its gradient is taken with the
  /// product's.
  static ops::LinearShape up_product(const ModelShape& shape);
  static ops::LinearShape down_product(const ModelShape& shape, BackwardHalves halves);

  /// `name` is the parameters' prefix: "blocks.3.mlp".
  MlpLayer(ModelContext& context, const std::string& name);

  /// The forward pass: pre_activation, and `hidden` unless GELU is apart, from the normalized rows; `hidden` where it
  /// is; and [R, C] from `hidden`: the down product without its bias; lives in scratch.
  void up(const BlockActivations& kept) const;
  void activate(const BlockActivations& kept) const;
  TensorView down(const BlockActivations& kept) const;
  /// The gradient of mlp_input [R, C], from held.branch_gradient; lives in scratch.
  TensorView input_gradient(const BlockActivations& kept, const Held& held) const;
  void weight_gradient(const BlockActivations& kept, const Held& held, GatheredGradient gathered,
                       bool accumulate) const;

  TensorView output_bias() const { return down_bias_.value; }

 private:
  ModelContext* context_;
  Parameter up_weight_, up_bias_, down_weight_, down_bias_;
};

}  // namespace penstock
