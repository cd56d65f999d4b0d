// SPDX-License-Identifier: Apache-2.0
#include "model/head.hpp"

#include "ops/softmax_loss.hpp"
#include "ops/sum.hpp"

namespace penstock {

namespace {

// One of the token table's two uses; the embedding is the other.
constexpr std::size_t head_use = 1;

Parameter weight_of(const ModelContext& context) {
  return context.shape().model->tied ? context.parameter("embedding.token.weight", head_use)
                                     : context.parameter("head.weight");
}

}  // namespace

Head::Head(ModelContext& context, int held, Arena& arena)
    : context_(&context), token_(weight_of(context)), norm_(context, "final_norm") {
  const ModelShape& shape = context.shape();
  const auto take = [&](DType type, const Shape& extents) {
    return arena.take(MemoryUse::activations, type, extents, "head");
  };
  for (int i = 0; i < held; ++i) {
    Held& place = held_.emplace_back();
    place.normalized = take(shape.cut.compute, {shape.rows(), shape.width()});
    if (shape.cut_rows()) place.gathered = take(shape.cut.compute, {shape.tokens(), shape.width()});
    place.logits = take(shape.cut.compute, {shape.tokens(), shape.vocabulary_rows()});
  }
  if (shape.model->norm == NormKind::layer) mean_ = take(DType::float32, {shape.rows()});
  rstd_ = take(DType::float32, {shape.rows()});
  if (shape.cut.tensor > 1) statistics_ = take(DType::float32, {shape.cut.tensor, shape.tokens(), 3});
  loss_ = take(DType::float32, {shape.tokens()});
}

ops::LinearShape Head::logits_product(const ModelShape& shape) {
  return {.rows = shape.tokens(),
          .inputs = shape.width(),
          .outputs = shape.vocabulary_rows(),
          .type = shape.cut.compute,
          .y = shape.cut.compute,
          .dx = shape.partial()};
}

StreamNorm::Places Head::norm_places(TensorView x, const Held& to) const {
  return {.x = x, .y = to.normalized, .mean = mean_, .rstd = rstd_};
}

void Head::evaluate(const MicrobatchView& microbatch, TensorView x, double* loss_sum) const {
  loss(microbatch, x, held(0), 1.0F, false, loss_sum);
}

void Head::loss(const MicrobatchView& microbatch, TensorView x, const Held& to, float scale, bool with_gradient,
                double* loss_sum) const {
  const ModelShape& shape = context_->shape();
  Queue& queue = context_->queue();
  norm_.apply(norm_places(x, to));
  ops::linear(queue, {.x = context_->gather_rows(to.normalized, to.gathered),
                      .weight = token_.value,
                      .bias = {},
                      .y = to.logits,
                      .pre_activation = {}});
  context_->record({"logits"}, microbatch, to.logits);

  if (shape.cut.tensor == 1)
    ops::whole_softmax_loss(queue, {.logits = to.logits,
                                    .targets = microbatch.targets,
                                    .columns = shape.vocabulary_columns(),
                                    .loss = loss_,
                                    .scale = scale,
                                    .gradient = with_gradient});
  else
    loss_of_cut_logits(microbatch, to.logits, scale, with_gradient);
  context_->record({"loss"}, microbatch, loss_);
  ops::add_sum(queue, loss_, loss_sum);
}

void Head::loss_of_cut_logits(const MicrobatchView& microbatch, TensorView logits, float scale,
                              bool with_gradient) const {
  const ModelShape& shape = context_->shape();
  Queue& queue = context_->queue();
  const std::int64_t part = shape.tokens() * 3;
  const TensorView own = statistics_.range(part * shape.tensor_coordinate, part).reshaped({shape.tokens(), 3});
  ops::softmax_statistics(queue, {.logits = logits,
                                  .targets = microbatch.targets,
                                  .first_token = shape.first_token(),
                                  .columns = shape.vocabulary_columns(),
                                  .statistics = own});
  context_->exchange(own, statistics_);
  ops::softmax_loss(queue, {.logits = logits,
                            .targets = microbatch.targets,
                            .first_token = shape.first_token(),
                            .columns = shape.vocabulary_columns(),
                            .statistics = statistics_,
                            .loss = loss_,
                            .scale = scale,
                            .gradient = with_gradient});
}

void Head::input_gradient(const MicrobatchView& microbatch, TensorView x, int held_index, float loss_scale,
                          TensorView gradient, Accumulate accumulate, double* loss_sum) const {
  const Held& to = held(held_index);
  loss(microbatch, x, to, loss_scale, true, loss_sum);
  context_->record({"logits.gradient"}, microbatch, to.logits);
  ops::linear_input_gradient(
      context_->queue(),
      {.dy = to.logits, .weight = token_.value, .dx = context_->scratch().partial, .pre_activation = {}});
  norm_.gradient(norm_places(x, to), context_->sum_partials(context_->scratch().partial), {}, gradient,
                 accumulate.norms);
}

void Head::weight_gradient(int held_index, Accumulate accumulate) const {
  const Held& from = held(held_index);
  ops::linear_weight_gradient(context_->queue(), {.dy = from.logits,
                                                  .x = context_->shape().cut_rows() ? from.gathered : from.normalized,
                                                  .dweight = token_.gradient,
                                                  .dbias = {},
                                                  .accumulate = accumulate.products});
}

}  // namespace penstock
