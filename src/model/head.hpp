// SPDX-License-Identifier: Apache-2.0
#pragma once
// The end of the model: final norm, logits by the token table or a weight of its own (cut by vocabulary),
// cross-entropy. It runs with the last stage's input gradient, not with its forward pass, so that logits are kept only
// from there to the weight gradient: one buffer serves any number of microbatches in flight, unless the schedule defers
// weight gradients. N tokens of the microbatch, R rows here, C channels, V local vocabulary rows.

#include <vector>

#include "model/backward.hpp"
#include "model/stream_norm.hpp"
#include "ops/linear.hpp"

namespace penstock {

class Head {
 public:
  /// `held`: the number of microbatches that wait for their weight gradient at once.
  Head(ModelContext& context, int held, Arena& arena);
  /// The product with its weight.
  static ops::LinearShape logits_product(const ModelShape& shape);

  /// From x [R, C]: adds the microbatch's losses (nats, one for each token) to *loss_sum (device memory).
  void evaluate(const MicrobatchView& microbatch, TensorView x, double* loss_sum) const;
  /// The same, and gradient [R, C]: of the loss times `loss_scale`, with respect to x; and the final norm's
  /// gradients. Stores what weight_gradient needs in place `held_index`.
  void input_gradient(const MicrobatchView& microbatch, TensorView x, int held_index, float loss_scale,
                      TensorView gradient, Accumulate accumulate, double* loss_sum) const;
  /// The token table's gradient, from what input_gradient stored in place `held_index`.
  void weight_gradient(int held_index, Accumulate accumulate) const;

 private:
  /// What is kept from the input gradient to the weight gradient.
  struct Held {
    TensorView normalized;  ///< [R, C]
    TensorView gathered;    ///< [N, C] the normalized rows of all tensor ranks; absent if rows are not cut
    TensorView logits;      ///< [N, V], then their gradient
  };
  const Held& held(int index) const { return held_[static_cast<std::size_t>(index)]; }
  StreamNorm::Places norm_places(TensorView x, const Held& to) const;
  void loss(const MicrobatchView& microbatch, TensorView x, const Held& to, float scale, bool with_gradient,
            double* loss_sum) const;
  /// If ranks share the vocabulary, they exchange the statistics of their columns.
  void loss_of_cut_logits(const MicrobatchView& microbatch, TensorView logits, float scale, bool with_gradient) const;

  ModelContext* context_;
  Parameter token_;  ///< the token table, or a weight of the head's own
  StreamNorm norm_;
  std::vector<Held> held_;
  TensorView mean_, rstd_;  ///< [R] float32
  TensorView statistics_;   ///< [tensor ranks, N, 3] float32; absent if the vocabulary is not cut
  TensorView loss_;         ///< [N] float32
};

}  // namespace penstock
