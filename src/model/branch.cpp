// SPDX-License-Identifier: Apache-2.0
#include "model/branch.hpp"

#include "base/fault.hpp"
#include "ops/activation.hpp"

namespace penstock {

namespace {

TensorView inner_gradient_of(const BranchActivations& kept, const Branch::Held& held) {
  return held.inner_gradient.present() ? held.inner_gradient : kept.inner;
}

double core_dropout_of(const BranchDescription& branch) {
  return branch.attention() ? branch.attention()->dropout : 0.0;
}

StreamNorm::Places norm_places(const BranchActivations& kept) {
  return {.x = kept.x, .y = kept.normalized, .mean = kept.mean, .rstd = kept.rstd};
}

/// Attention's input.
TensorView heads_of(const BranchActivations& kept) { return kept.rotated.present() ? kept.rotated : kept.inner; }

Parameter bias_of(const ModelContext& context, bool there, const std::string& product) {
  return there ? context.parameter(product + ".bias") : Parameter{};
}

}  // namespace

ops::LinearShape in_product(const ModelShape& shape, std::size_t branch) {
  const BranchDescription& description = shape.branches()[branch];
  return {.rows = shape.tokens(),
          .inputs = shape.width(),
          .outputs = shape.inner_channels(description),
          .type = shape.cut.compute,
          .y = shape.cut.compute,
          .dx = shape.partial(),
          .bias = description.in.bias,
          .bias_gradient = description.in.bias,
          .activated = description.activation_in_products() && !has_activation_apart(shape, branch)};
}

ops::LinearShape out_product(const ModelShape& shape, std::size_t branch, BackwardHalves halves) {
  const BranchDescription& description = shape.branches()[branch];
  const bool slope = description.activation_in_products();
  return {.rows = shape.tokens(),
          .inputs = shape.core_channels(description),
          .outputs = shape.width(),
          .type = shape.cut.compute,
          .y = shape.partial(),
          .dx = shape.cut.compute,
          .bias_gradient = description.out.bias,
          .slope = slope,
          .slope_in_place = slope && halves == BackwardHalves::input_only};
}

ops::AttentionShape attention_shape(const ModelShape& shape, const AttentionCore& attention) {
  return {.samples = shape.samples,
          .sequence = shape.sequence,
          .heads = shape.heads(attention),
          .channels = attention.head_channels,
          .first_head = planted(Fault::local_mask) ? 0 : shape.heads(attention) * shape.tensor_coordinate,
          .repeatable = shape.cut.repeatable_attention,
          .kv_heads = shape.kv_heads(attention),
          .window = attention.window < shape.sequence ? attention.window : 0};
}

Branch::Branch(ModelContext& context, const BranchDescription& description, std::size_t number,
               const std::string& block)
    : context_(&context),
      description_(&description),
      number_(number),
      tap_("." + description.name),
      query_tap_(tap_ + std::string(query_tap)),
      key_tap_(tap_ + std::string(key_tap)),
      dropout_(context.dropout(block + tap_, description.dropout)),
      core_dropout_(context.dropout(block + tap_ + " probabilities", core_dropout_of(description))),
      norm_(context, block + tap_ + "_norm") {
  const std::string prefix = block + tap_ + ".";
  const std::string in = prefix + description.in.weights.front().name, out = prefix + description.out.name;
  in_weight_ = context.parameter(in + ".weight");
  in_bias_ = bias_of(context, description.in.bias, in);
  out_weight_ = context.parameter(out + ".weight");
  out_bias_ = bias_of(context, description.out.bias, out);
  const AttentionCore* attention = description.attention();
  if (!attention) return;
  rotary_table_ = context.rotary_table(*attention);
  if (!attention->query_key_norm) return;
  query_norm_ = context.parameter(prefix + "query_norm.weight");
  key_norm_ = context.parameter(prefix + "key_norm.weight");
}

void Branch::normalize(const BranchActivations& kept) const { norm_.apply(norm_places(kept)); }

void Branch::normalize_after(const ops::Residual& sum, const BranchActivations& kept) const {
  norm_.apply_after(sum, norm_places(kept));
}

void Branch::project(const BranchActivations& kept) const {
  const bool fused = description_->activation_in_products() && !has_activation_apart(context_->shape(), number_);
  ops::linear(context_->queue(), {.x = context_->tokens_of(kept.normalized, kept.tokens),
                                  .weight = in_weight_.value,
                                  .bias = in_bias_.value,
                                  .y = fused ? kept.core : kept.inner,
                                  .pre_activation = fused ? kept.inner : TensorView()});
  const AttentionCore* attention = description_->attention();
  if (attention && attention->rotation && !attention->rotates_apart()) ops::rotate(context_->queue(), rotation(kept));
}

void Branch::compute_core(const MicrobatchView& microbatch, const BranchActivations& kept, bool with_dropout) const {
  const MlpCore* mlp = description_->mlp();
  if (!mlp)
    attend(microbatch, kept, with_dropout);
  else if (has_activation_apart(context_->shape(), number_))
    ops::activate(context_->queue(), mlp->activation, kept.inner, kept.core);
}

ops::Rotate Branch::rotation(const BranchActivations& kept) const {
  return {.shape = attention_shape(context_->shape(), *description_->attention()),
          .qkv = kept.inner,
          .table = rotary_table_,
          .query_norm = query_norm_.value,
          .key_norm = key_norm_.value,
          .rstd = kept.head_rstd,
          .out = heads_of(kept),
          .epsilon = static_cast<float>(context_->shape().model->norm_epsilon)};
}

void Branch::attend(const MicrobatchView& microbatch, const BranchActivations& kept, bool with_dropout) const {
  const AttentionCore& attention = *description_->attention();
  if (attention.rotates_apart()) ops::rotate(context_->queue(), rotation(kept));
  ops::attention(context_->queue(), {.shape = attention_shape(context_->shape(), attention),
                                     .qkv = heads_of(kept),
                                     .out = kept.core,
                                     .log_sum_exp = kept.statistics,
                                     .dropout = with_dropout ? core_dropout_ : ops::Dropout{},
                                     .first_sample = microbatch.first_sample});
}

void Branch::record_heads(const MicrobatchView& microbatch, const BranchActivations& kept,
                          std::string_view block) const {
  const AttentionCore* attention = description_->attention();
  if (!attention || !attention->rotation || !context_->has_taps()) return;
  const ModelShape& shape = context_->shape();
  const std::int64_t queries = shape.heads(*attention) * attention->head_channels;
  const std::int64_t keys = shape.kv_heads(*attention) * attention->head_channels;
  context_->record_columns({block, query_tap_}, microbatch, heads_of(kept), 0, queries);
  context_->record_columns({block, key_tap_}, microbatch, heads_of(kept), queries, keys);
}

TensorView Branch::output(const BranchActivations& kept) const {
  ops::linear(context_->queue(), {.x = kept.core,
                                  .weight = out_weight_.value,
                                  .bias = {},
                                  .y = context_->scratch().partial,
                                  .pre_activation = {}});
  return context_->sum_partials(context_->scratch().partial);
}

ops::Residual Branch::joined(const MicrobatchView& microbatch, const BranchActivations& kept, TensorView output,
                             TensorView out, bool with_dropout) const {
  return {.residual = kept.x,
          .branch = output,
          .bias = out_bias_.value,
          .out = out,
          .dropout = with_dropout ? dropout_ : ops::Dropout{},
          .rows = context_->token_rows(microbatch)};
}

TensorView Branch::through_dropout(const MicrobatchView& microbatch, TensorView gradient, TensorView own_place) const {
  if (!own_place.present()) return gradient;
  ops::dropout_gradient(
      context_->queue(),
      {.dout = gradient, .dbranch = own_place, .dropout = dropout_, .rows = context_->token_rows(microbatch)});
  return own_place;
}

void Branch::core_gradient(const MicrobatchView& microbatch, const BranchActivations& kept, TensorView inner_gradient,
                           bool accumulate_norms) const {
  if (description_->attention())
    attention_gradient(microbatch, kept, inner_gradient, accumulate_norms);
  else
    ops::activation_gradient(context_->queue(), description_->mlp()->activation, kept.inner, core_gradient_place(),
                             inner_gradient);
}

void Branch::attention_gradient(const MicrobatchView& microbatch, const BranchActivations& kept,
                                TensorView inner_gradient, bool accumulate_norms) const {
  const AttentionCore& attention = *description_->attention();
  const ops::AttentionShape shape = attention_shape(context_->shape(), attention);
  ops::attention_gradient(context_->queue(), {.shape = shape,
                                              .qkv = heads_of(kept),
                                              .out = kept.core,
                                              .log_sum_exp = kept.statistics,
                                              .dout = core_gradient_place(),
                                              .dqkv = inner_gradient,
                                              .dropout = core_dropout_,
                                              .first_sample = microbatch.first_sample});
  if (!attention.rotation) return;
  const bool norms = attention.query_key_norm;
  ops::rotate_gradient(context_->queue(), {.shape = shape,
                                           .dout = inner_gradient,
                                           .table = rotary_table_,
                                           .qkv = norms ? kept.inner : TensorView(),
                                           .query_norm = query_norm_.value,
                                           .key_norm = key_norm_.value,
                                           .rstd = kept.head_rstd,
                                           .dquery_norm = query_norm_.gradient,
                                           .dkey_norm = key_norm_.gradient,
                                           .dqkv = inner_gradient,
                                           .accumulate = accumulate_norms});
}

TensorView Branch::core_gradient_place() const {
  const ModelShape& shape = context_->shape();
  const std::int64_t channels = shape.core_channels(*description_);
  return context_->scratch().core_gradient.range(0, shape.tokens() * channels).reshaped({shape.tokens(), channels});
}

TensorView Branch::input_gradient(const MicrobatchView& microbatch, const BranchActivations& kept, const Held& held,
                                  bool accumulate_norms) const {
  const ModelScratch& scratch = context_->scratch();
  const bool slope = description_->activation_in_products();
  const TensorView inner_gradient = inner_gradient_of(kept, held);
  ops::linear_input_gradient(context_->queue(),
                             {.dy = context_->gather_rows(held.branch_gradient, scratch.gathered_gradient),
                              .weight = out_weight_.value,
                              .dx = slope ? inner_gradient : core_gradient_place(),
                              .pre_activation = slope ? kept.inner : TensorView()});
  if (!slope) core_gradient(microbatch, kept, inner_gradient, accumulate_norms);
  ops::linear_input_gradient(
      context_->queue(),
      {.dy = inner_gradient, .weight = in_weight_.value, .dx = scratch.partial, .pre_activation = {}});
  return context_->sum_partials(scratch.partial);
}

void Branch::weight_gradient(const BranchActivations& kept, const Held& held, GatheredGradient gathered,
                             bool accumulate) const {
  const ModelScratch& scratch = context_->scratch();
  const bool there = gathered == GatheredGradient::in_scratch && context_->shape().cut_rows();
  const TensorView dout =
      there ? scratch.gathered_gradient : context_->gather_rows(held.branch_gradient, scratch.gathered_gradient);
  ops::linear_weight_gradient(context_->queue(), {.dy = dout,
                                                  .x = kept.core,
                                                  .dweight = out_weight_.gradient,
                                                  .dbias = out_bias_.gradient,
                                                  .accumulate = accumulate});
  const TensorView tokens = context_->tokens_of(kept.normalized, kept.tokens);
  ops::linear_weight_gradient(context_->queue(), {.dy = inner_gradient_of(kept, held),
                                                  .x = tokens,
                                                  .dweight = in_weight_.gradient,
                                                  .dbias = in_bias_.gradient,
                                                  .accumulate = accumulate});
}

void Branch::norm_gradient(const BranchActivations& kept, TensorView dy, TensorView gradient, bool accumulate) const {
  norm_.gradient(norm_places(kept), dy, gradient, gradient, accumulate);
}

}  // namespace penstock
