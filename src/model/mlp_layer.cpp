#include "model/mlp_layer.hpp"

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
          .gelu = true};
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

void MlpLayer::up(const BlockActivations& kept) const {
  ops::linear(context_->queue(), {.x = context_->tokens_of(kept.mlp_input, kept.mlp_tokens),
                                  .weight = context_->weight(name_ + ".up.weight"),
                                  .bias = context_->weight(name_ + ".up.bias"),
                                  .y = kept.hidden,
                                  .pre_activation = kept.pre_activation});
}

TensorView MlpLayer::down(const BlockActivations& kept) const {
  ops::linear(context_->queue(), {.x = kept.hidden,
                                  .weight = context_->weight(name_ + ".down.weight"),
                                  .bias = {},
                                  .y = context_->scratch().partial,
                                  .pre_activation = {}});
  return context_->sum_partials(context_->scratch().partial);
}

TensorView MlpLayer::input_gradient(const BlockActivations& kept, const Held& held) const {
  const ModelScratch& scratch = context_->scratch();
  const TensorView dout = context_->gather_rows(held.branch_gradient, scratch.gathered_gradient);
  ops::linear_input_gradient(context_->queue(), {.dy = dout,
                                                 .weight = context_->weight(name_ + ".down.weight"),
                                                 .dx = hidden_gradient(kept, held),
                                                 .pre_activation = kept.pre_activation});
  ops::linear_input_gradient(context_->queue(), {.dy = hidden_gradient(kept, held),
                                                 .weight = context_->weight(name_ + ".up.weight"),
                                                 .dx = scratch.partial,
                                                 .pre_activation = {}});
  return context_->sum_partials(scratch.partial);
}

void MlpLayer::weight_gradient(const BlockActivations& kept, const Held& held, GatheredGradient gathered) const {
  const ModelScratch& scratch = context_->scratch();
  const bool there = gathered == GatheredGradient::in_scratch && context_->shape().cut_rows();
  const TensorView dout =
      there ? scratch.gathered_gradient : context_->gather_rows(held.branch_gradient, scratch.gathered_gradient);
  ops::linear_weight_gradient(context_->queue(), {.dy = dout,
                                                  .x = kept.hidden,
                                                  .dweight = context_->gradient(name_ + ".down.weight"),
                                                  .dbias = context_->gradient(name_ + ".down.bias")});
  const TensorView tokens = context_->tokens_of(kept.mlp_input, kept.mlp_tokens);
  ops::linear_weight_gradient(context_->queue(), {.dy = hidden_gradient(kept, held),
                                                  .x = tokens,
                                                  .dweight = context_->gradient(name_ + ".up.weight"),
                                                  .dbias = context_->gradient(name_ + ".up.bias")});
}

}  // namespace penstock
