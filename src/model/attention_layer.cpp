// SPDX-License-Identifier: Apache-2.0
#include "model/attention_layer.hpp"

#include "base/fault.hpp"

namespace penstock {

ops::LinearShape AttentionLayer::qkv_product(const ModelShape& shape) {
  return {.rows = shape.tokens(),
          .inputs = shape.width(),
          .outputs = 3 * shape.head_width(),
          .type = shape.cut.compute,
          .y = shape.cut.compute,
          .dx = shape.partial(),
          .bias = true,
          .bias_gradient = true};
}

ops::LinearShape AttentionLayer::output_product(const ModelShape& shape) {
  return {.rows = shape.tokens(),
          .inputs = shape.head_width(),
          .outputs = shape.width(),
          .type = shape.cut.compute,
          .y = shape.partial(),
          .dx = shape.cut.compute,
          .bias_gradient = true};
}

AttentionLayer::AttentionLayer(ModelContext& context, const std::string& name)
    : context_(&context),
      dropout_(context.dropout(name + " probabilities", context.shape().config.dropout_attention)),
      qkv_weight_(context.parameter(name + ".qkv.weight")),
      qkv_bias_(context.parameter(name + ".qkv.bias")),
      output_weight_(context.parameter(name + ".output.weight")),
      output_bias_(context.parameter(name + ".output.bias")) {}

ops::AttentionShape AttentionLayer::attention_shape() const {
  const ModelShape& shape = context_->shape();
  return {.samples = shape.samples,
          .sequence = shape.sequence,
          .heads = shape.heads(),
          .channels = shape.config.head_channels(),
          .first_head = planted(Fault::local_mask) ? 0 : shape.heads() * shape.tensor_coordinate,
          .repeatable = shape.cut.repeatable_attention};
}

void AttentionLayer::project(const BlockActivations& kept) const {
  ops::linear(context_->queue(), {.x = context_->tokens_of(kept.attention_input, kept.attention_tokens),
                                  .weight = qkv_weight_.value,
                                  .bias = qkv_bias_.value,
                                  .y = kept.qkv,
                                  .pre_activation = {}});
}

void AttentionLayer::attend(const MicrobatchView& microbatch, const BlockActivations& kept, bool with_dropout) const {
  ops::attention(context_->queue(), {.shape = attention_shape(),
                                     .qkv = kept.qkv,
                                     .out = kept.attended,
                                     .log_sum_exp = kept.log_sum_exp,
                                     .dropout = with_dropout ? dropout_ : ops::Dropout{},
                                     .first_sample = microbatch.first_sample});
}

TensorView AttentionLayer::output(const BlockActivations& kept) const {
  ops::linear(context_->queue(), {.x = kept.attended,
                                  .weight = output_weight_.value,
                                  .bias = {},
                                  .y = context_->scratch().partial,
                                  .pre_activation = {}});
  return context_->sum_partials(context_->scratch().partial);
}

TensorView AttentionLayer::input_gradient(const MicrobatchView& microbatch, const BlockActivations& kept,
                                          const Held& held) const {
  const ModelScratch& scratch = context_->scratch();
  const TensorView dout = context_->gather_rows(held.branch_gradient, scratch.gathered_gradient);
  ops::linear_input_gradient(
      context_->queue(),
      {.dy = dout, .weight = output_weight_.value, .dx = scratch.attention_gradient, .pre_activation = {}});
  ops::attention_gradient(context_->queue(), {.shape = attention_shape(),
                                              .qkv = kept.qkv,
                                              .out = kept.attended,
                                              .log_sum_exp = kept.log_sum_exp,
                                              .dout = scratch.attention_gradient,
                                              .dqkv = held.dqkv,
                                              .dropout = dropout_,
                                              .first_sample = microbatch.first_sample});
  ops::linear_input_gradient(
      context_->queue(), {.dy = held.dqkv, .weight = qkv_weight_.value, .dx = scratch.partial, .pre_activation = {}});
  return context_->sum_partials(scratch.partial);
}

void AttentionLayer::weight_gradient(const BlockActivations& kept, const Held& held, GatheredGradient gathered,
                                     bool accumulate) const {
  const ModelScratch& scratch = context_->scratch();
  const bool there = gathered == GatheredGradient::in_scratch && context_->shape().cut_rows();
  const TensorView dout =
      there ? scratch.gathered_gradient : context_->gather_rows(held.branch_gradient, scratch.gathered_gradient);
  ops::linear_weight_gradient(context_->queue(), {.dy = dout,
                                                  .x = kept.attended,
                                                  .dweight = output_weight_.gradient,
                                                  .dbias = output_bias_.gradient,
                                                  .accumulate = accumulate});
  const TensorView tokens = context_->tokens_of(kept.attention_input, kept.attention_tokens);
  ops::linear_weight_gradient(context_->queue(), {.dy = held.dqkv,
                                                  .x = tokens,
                                                  .dweight = qkv_weight_.gradient,
                                                  .dbias = qkv_bias_.gradient,
                                                  .accumulate = accumulate});
}

}  // namespace penstock
