// SPDX-License-Identifier: Apache-2.0
#pragma once
// Token embedding (cut by vocabulary) plus learned positions. N tokens of the microbatch, R rows here, C channels.

#include "model/model_context.hpp"

namespace penstock {

class EmbeddingLayer {
 public:
  EmbeddingLayer(ModelContext& context, Arena& arena);

  /// out [R, C] = dropout(token + position).
  void forward(const MicrobatchView& microbatch, TensorView out, bool with_dropout) const;
  /// From the gradient of the output [R, C], which it overwrites: the gradients of both tables.
  void gradient(const MicrobatchView& microbatch, TensorView gradient, bool accumulate) const;

 private:
  ModelContext* context_;
  ops::Dropout dropout_;
  Parameter token_, position_;
  TensorView tokens_;  ///< [N, C] embedded tokens of this rank's part of the vocabulary
};

}  // namespace penstock
