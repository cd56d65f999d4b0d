// SPDX-License-Identifier: Apache-2.0
#include "model/embedding_layer.hpp"

#include "ops/embedding.hpp"
#include "ops/layer_norm.hpp"

namespace penstock {

namespace {

// One of the token table's two uses; the head is the other.
constexpr std::size_t embedding_use = 0;

}  // namespace

EmbeddingLayer::EmbeddingLayer(ModelContext& context, Arena& arena)
    : context_(&context),
      dropout_(context.dropout("embedding", context.shape().model->dropout_embedding)),
      token_(context.parameter("embedding.token.weight", embedding_use)),
      position_(context.shape().model->learned_positions ? context.parameter("embedding.position.weight")
                                                         : Parameter{}),
      // One rank holds a token's row and the others add zeros: the sum is exact in any type.
      tokens_(arena.take(MemoryUse::buffers, context.shape().cut.compute,
                         {context.shape().tokens(), context.shape().width()})) {}

void EmbeddingLayer::forward(const MicrobatchView& microbatch, TensorView out, bool with_dropout) const {
  ops::embedding(context_->queue(), {.tokens = microbatch.tokens,
                                     .weight = token_.value,
                                     .first_token = context_->shape().first_token(),
                                     .out = tokens_});
  const TensorView own = context_->sum_partials(tokens_);
  const ops::Dropout dropout = with_dropout ? dropout_ : ops::Dropout{};
  const ops::TokenRows rows = context_->token_rows(microbatch);
  if (position_.value.present())
    ops::position_embedding(context_->queue(),
                            {.token = own, .weight = position_.value, .out = out, .dropout = dropout, .rows = rows});
  else
    ops::residual(context_->queue(),
                  {.residual = {}, .branch = own, .bias = {}, .out = out, .dropout = dropout, .rows = rows});
  context_->record({"embedding"}, microbatch, out);
}

void EmbeddingLayer::gradient(const MicrobatchView& microbatch, TensorView gradient, bool accumulate) const {
  context_->record({"embedding.gradient"}, microbatch, gradient);
  const ops::TokenRows rows = context_->token_rows(microbatch);
  if (position_.value.present())
    ops::position_embedding_gradient(context_->queue(), {.dout = gradient,
                                                         .dtoken = gradient,
                                                         .dweight = position_.gradient,
                                                         .dropout = dropout_,
                                                         .rows = rows,
                                                         .accumulate = accumulate});
  else if (dropout_.active())
    ops::dropout_gradient(context_->queue(),
                          {.dout = gradient, .dbranch = gradient, .dropout = dropout_, .rows = rows});
  ops::embedding_gradient(context_->queue(),
                          {.tokens = microbatch.tokens,
                           .dout = context_->gather_rows(gradient, context_->scratch().gathered_gradient),
                           .first_token = context_->shape().first_token(),
                           .dweight = token_.gradient,
                           .accumulate = accumulate});
}

}  // namespace penstock
