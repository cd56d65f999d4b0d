// SPDX-License-Identifier: Apache-2.0
#pragma once
// A pre-norm residual branch, from its norm to the sum: a product cut by its outputs, a core (attention, or
// an MLP's activation), a product cut by its inputs. N tokens of the microbatch, R rows here, C channels.

#include <string>

#include "model/backward.hpp"
#include "model/stream_norm.hpp"
#include "ops/attention.hpp"
#include "ops/linear.hpp"
#include "ops/rotate.hpp"

namespace penstock {

/// The two products of a branch; the bias of `out` is added after the sum over ranks, but its gradient is computed with
/// the product's. `halves`: of the backward pass.
ops::LinearShape in_product(const ModelShape& shape, std::size_t branch);
ops::LinearShape out_product(const ModelShape& shape, std::size_t branch, BackwardHalves halves);

/// On this rank. `branch` has an attention core.
ops::AttentionShape attention_shape(const ModelShape& shape, const AttentionCore& attention);

class Branch {
 public:
  /// What the input gradient stores for the weight gradient.
  struct Held {
    TensorView branch_gradient;  ///< [R, C] gradient of the output product, dropout undone
    TensorView inner_gradient;   ///< [N, inner channels]; absent: it overwrites `inner`
  };

  /// The branch of number `number` of the block whose parameters begin with `block`: "blocks.3".
  Branch(ModelContext& context, const BranchDescription& description, std::size_t number, const std::string& block);

  /// The norm of `kept.x`, as the branch's first operation or fused with the sum that makes it.
  void normalize(const BranchActivations& kept) const;
  void normalize_after(const ops::Residual& sum, const BranchActivations& kept) const;
  /// The forward pass in steps: `inner` from the normalized rows, `core` from `inner`, and [R, C] from `core`: the last
  /// product without its bias; in scratch.
  void project(const BranchActivations& kept) const;
  void compute_core(const MicrobatchView& microbatch, const BranchActivations& kept, bool with_dropout) const;
  /// For taps: q and k as attention reads them, where they are rotated. After compute_core.
  void record_heads(const MicrobatchView& microbatch, const BranchActivations& kept, std::string_view block) const;
  TensorView output(const BranchActivations& kept) const;
  /// The sum that the branch joins with `output`, from its own x to `out` [R, C].
  ops::Residual joined(const MicrobatchView& microbatch, const BranchActivations& kept, TensorView output,
                       TensorView out, bool with_dropout) const;

  /// The gradient of the branch's outputs [R, C] from that of the sum: in `own_place` if present, otherwise the same
  /// tensor.
  TensorView through_dropout(const MicrobatchView& microbatch, TensorView gradient, TensorView own_place) const;
  /// The gradient of the normalized rows [R, C], from held.branch_gradient; in scratch. Fills the inner gradient.
  TensorView input_gradient(const MicrobatchView& microbatch, const BranchActivations& kept, const Held& held,
                            bool accumulate_norms) const;
  /// Adds the gradients of both products' weights and biases.
  void weight_gradient(const BranchActivations& kept, const Held& held, GatheredGradient gathered,
                       bool accumulate) const;
  /// gradient [R, C]: in, of the stream after the norm's branch; out, of x. `dy`: of the normalized rows.
  void norm_gradient(const BranchActivations& kept, TensorView dy, TensorView gradient, bool accumulate) const;

  const std::string& tap() const { return tap_; }  ///< ".attention"

 private:
  void attend(const MicrobatchView& microbatch, const BranchActivations& kept, bool with_dropout) const;
  void core_gradient(const MicrobatchView& microbatch, const BranchActivations& kept, TensorView inner_gradient,
                     bool accumulate_norms) const;
  void attention_gradient(const MicrobatchView& microbatch, const BranchActivations& kept, TensorView inner_gradient,
                          bool accumulate_norms) const;
  ops::Rotate rotation(const BranchActivations& kept) const;
  /// [N, core channels], in scratch.
  TensorView core_gradient_place() const;

  ModelContext* context_;
  const BranchDescription* description_;
  std::size_t number_;
  std::string tap_;
  std::string query_tap_, key_tap_;
  ops::Dropout dropout_;       ///< of the outputs
  ops::Dropout core_dropout_;  ///< of attention's probabilities
  StreamNorm norm_;
  Parameter in_weight_, in_bias_, out_weight_, out_bias_;
  Parameter query_norm_, key_norm_;  ///< of heads
  TensorView rotary_table_;
};

}  // namespace penstock
