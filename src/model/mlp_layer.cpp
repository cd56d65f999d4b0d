// SPDX-License-Identifier: Apache-2.0
#include "model/mlp_layer.hpp"

#include "ops/gelu.hpp"

namespace penstock {

namespace {

TensorView hidden_gradient(const BlockActivations& kept, const MlpLayer::Held& held) {
  return held.hidden_gradient.present() ? held.hidden_gradient : kept.pre_activation;
}

}  // namespace

ops::LinearShape MlpLayer::up_product(const ModelShape& shape) {
  return {.rows = shape.tokens(),
          .inputs = shape.width(),
          .outputs = shape.hidden(),
          .type = shape.cut.compute,
          .y = shape.cut.compute,
          .dx = shape.partial(),
          .bias = true,
          .bias_gradient = true,
          .gelu = !has_gelu_apart(shape)};
}

ops::LinearShape MlpLayer::down_product(const ModelShape& shape, BackwardHalves halves) {
  return {.rows = shape.tokens(),
          .inputs = shape.hidden(),
          .outputs = shape.width(),
          .type = shape.cut.compute,
          .y = shape.partial(),
          .dx = shape.cut.compute,
          .bias_gradient = true,
          .slope = true,
          .slope_in_place = halves == BackwardHalves::input_only};
}

MlpLayer::MlpLayer(ModelContext& context, const std::string& name)
    : context_(&context),
      up_weight_(context.parameter(name + ".up.weight")),
      up_bias_(context.parameter(name + ".up.bias")),
      down_weight_(context.parameter(name + ".down.weight")),
      down_bias_(context.parameter(name + ".down.bias")) {}

void MlpLayer::up(const BlockActivations& kept) const {
  const bool apart = has_gelu_apart(context_->shape());
  ops::linear(context_->queue(), {.x = context_->tokens_of(kept.mlp_input, kept.mlp_tokens),
                                  .weight = up_weight_.value,
                                  .bias = up_bias_.value,
                                  .y = apart ? kept.pre_activation : kept.hidden,
                                  .pre_activation = apart ? TensorView() : kept.pre_activation});
}

void MlpLayer::activate(const BlockActivations& kept) const {
  ops::gelu(context_->queue(), {.pre_activation = kept.pre_activation, .y = kept.hidden});
}

TensorView MlpLayer::down(const BlockActivations& kept) const {
  ops::linear(context_->queue(), {.x = kept.hidden,
                                  .weight = down_weight_.value,
                                  .bias = {},
                                  .y = context_->scratch().partial,
                                  .pre_activation = {}});
  return context_->sum_partials(context_->scratch().partial);
}

TensorView MlpLayer::input_gradient(const BlockActivations& kept, const Held& held) const {
  const ModelScratch& scratch = context_->scratch();
  const TensorView dout = context_->gather_rows(held.branch_gradient, scratch.gathered_gradient);
  ops::linear_input_gradient(context_->queue(), {.dy = dout,
                                                 .weight = down_weight_.value,
                                                 .dx = hidden_gradient(kept, held),
                                                 .pre_activation = kept.pre_activation});
  ops::linear_input_gradient(
      context_->queue(),
      {.dy = hidden_gradient(kept, held), .weight = up_weight_.value, .dx = scratch.partial, .pre_activation = {}});
  return context_->sum_partials(scratch.partial);
}

void MlpLayer::weight_gradient(const BlockActivations& kept, const Held& held, GatheredGradient gathered,
                               bool accumulate) const {
  const ModelScratch& scratch = context_->scratch();
  const bool there = gathered == GatheredGradient::in_scratch && context_->shape().cut_rows();
  const TensorView dout =
      there ? scratch.gathered_gradient : context_->gather_rows(held.branch_gradient, scratch.gathered_gradient);
  ops::linear_weight_gradient(context_->queue(), {.dy = dout,
                                                  .x = kept.hidden,
                                                  .dweight = down_weight_.gradient,
                                                  .dbias = down_bias_.gradient,
                                                  .accumulate = accumulate});
  const TensorView tokens = context_->tokens_of(kept.mlp_input, kept.mlp_tokens);
  ops::linear_weight_gradient(context_->queue(), {.dy = hidden_gradient(kept, held),
                                                  .x = tokens,
                                                  .dweight = up_weight_.gradient,
                                                  .dbias = up_bias_.gradient,
                                                  .accumulate = accumulate});
}

}  // namespace penstock
