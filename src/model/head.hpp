#pragma once
// The end of the model: final norm, logits by the tied token table (cut by vocabulary), cross-entropy.
// It runs with the last stage's input gradient, not with its forward pass, so that one buffer of logits serves any
// number of microbatches in flight. N tokens of the microbatch, R rows here, C channels, V local vocabulary rows.

#include "model/model_context.hpp"
#include "ops/linear.hpp"

namespace penstock {

class Head {
 public:
  Head(ModelContext& context, Arena& arena);
  /// The product with the token table.
  static ops::LinearShape logits_product(const ModelShape& shape);

  /// From x [R, C]: adds the microbatch's losses (nats, one a token) to *loss_sum (device memory).
  void evaluate(const MicrobatchView& microbatch, TensorView x, double* loss_sum) const;
  /// The same, and gradient [R, C]: of the loss times `loss_scale`, with respect to x. Adds to the final norm's
  /// gradients.
  void input_gradient(const MicrobatchView& microbatch, TensorView x, float loss_scale, TensorView gradient,
                      double* loss_sum) const;
  /// Adds to the token table's gradient, from what input_gradient left.
  void weight_gradient() const;

 private:
  void loss(const MicrobatchView& microbatch, TensorView x, float scale, bool with_gradient, double* loss_sum) const;
  TensorView normalized_tokens() const;

  ModelContext* context_;
  TensorView normalized_;   ///< [R, C]
  TensorView mean_, rstd_;  ///< [R] float32
  TensorView gathered_;     ///< [N, C] the normalized rows of all tensor ranks; absent where rows are not cut
  TensorView logits_;       ///< [N, V], then their gradient
  TensorView statistics_;   ///< [tensor ranks, N, 3] float32
  TensorView loss_;         ///< [N] float32
};

}  // namespace penstock
