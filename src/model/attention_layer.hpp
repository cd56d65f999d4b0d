// SPDX-License-Identifier: Apache-2.0
#pragma once
// Self-attention with its two products: qkv (column-parallel, by heads) and output (row-parallel).
// N tokens of the microbatch, R rows here, C channels; each rank computes its own heads for all N tokens.

#include <string>

#include "model/backward.hpp"
#include "model/model_context.hpp"
#include "ops/attention.hpp"
#include "ops/linear.hpp"

namespace penstock {

class AttentionLayer {
 public:
  /// What the input gradient leaves for the weight gradient.
  struct Held {
    TensorView branch_gradient;  ///< [R, C] gradient of the output product, dropout undone
    TensorView dqkv;             ///< [N, 3 * local heads' channels]
  };
  /// The two products; the output's bias is added to its partial sums later, its gradient is taken with the product's.
  static ops::LinearShape qkv_product(const ModelShape& shape);
  static ops::LinearShape output_product(const ModelShape& shape);

  /// `name` is the parameters' prefix: "blocks.3.attention".
  AttentionLayer(ModelContext& context, const std::string& name);

  /// The forward pass in three steps: qkv from the normalized rows, `attended` and log-sum-exp from qkv, and
  /// [R, C] from `attended`: the output product without its bias; lives in scratch.
  void project(const BlockActivations& kept) const;
  void attend(const MicrobatchView& microbatch, const BlockActivations& kept, bool with_dropout) const;
  TensorView output(const BlockActivations& kept) const;
  /// The gradient of attention_input [R, C], from held.branch_gradient; lives in scratch. Fills held.dqkv.
  TensorView input_gradient(const MicrobatchView& microbatch, const BlockActivations& kept, const Held& held) const;
  /// Adds the gradients of both products' weights and biases.
  void weight_gradient(const BlockActivations& kept, const Held& held, GatheredGradient gathered,
                       bool accumulate) const;

  TensorView output_bias() const { return output_bias_.value; }

 private:
  ops::AttentionShape attention_shape() const;

  ModelContext* context_;
  ops::Dropout dropout_;
  Parameter qkv_weight_, qkv_bias_, output_weight_, output_bias_;
};

}  // namespace penstock
