#include "model/block.hpp"

namespace penstock {

Block::Activations Block::take_activations(const ModelShape& shape, Arena& arena) {
  const auto stream = [&] {
    return arena.take(MemoryUse::activations, shape.cut.compute, {shape.rows(), shape.width()}, "outside");
  };
  const auto statistic = [&] { return arena.take(MemoryUse::activations, DType::float32, {shape.rows()}, "outside"); };
  Activations kept;
  kept.x = stream();
  kept.attention_mean = statistic();
  kept.attention_rstd = statistic();
  kept.attention_input = stream();
  kept.attention = AttentionLayer::take_activations(shape, arena);
  kept.middle = stream();
  kept.mlp_mean = statistic();
  kept.mlp_rstd = statistic();
  kept.mlp_input = stream();
  kept.mlp = MlpLayer::take_activations(shape, arena);
  return kept;
}

Block::Held Block::take_held(const ModelShape& shape, Arena& arena) {
  return {.attention = AttentionLayer::take_held(shape, arena), .mlp = MlpLayer::take_held(shape, arena)};
}

Block::Block(ModelContext& context, int index)
    : context_(&context),
      name_("blocks." + std::to_string(index)),
      attention_(context, name_ + ".attention"),
      mlp_(context, name_ + ".mlp"),
      attention_dropout_(context.dropout(name_ + ".attention", context.shape().config.dropout_residual)),
      mlp_dropout_(context.dropout(name_ + ".mlp", context.shape().config.dropout_residual)) {}

void Block::forward(const MicrobatchView& microbatch, const Activations& kept, TensorView out,
                    bool with_dropout) const {
  const ops::TokenRows rows = context_->token_rows(microbatch);
  const auto norm = [&](const std::string& name, TensorView x, TensorView y, TensorView mean, TensorView rstd) {
    return ops::LayerNorm{.x = x,
                          .weight = context_->weight(name + ".weight"),
                          .bias = context_->weight(name + ".bias"),
                          .y = y,
                          .mean = mean,
                          .rstd = rstd};
  };
  ops::layer_norm(context_->queue(), norm(name_ + ".attention_norm", kept.x, kept.attention_input, kept.attention_mean,
                                          kept.attention_rstd));

  const TensorView attended = attention_.forward(microbatch, kept.attention, kept.attention_input, with_dropout);
  const ops::Residual middle{.residual = kept.x,
                             .branch = attended,
                             .bias = attention_.output_bias(),
                             .out = kept.middle,
                             .dropout = with_dropout ? attention_dropout_ : ops::Dropout{},
                             .rows = rows};
  record_branch(name_ + ".attention", microbatch, middle);
  ops::residual_layer_norm(context_->queue(), {.residual = middle,
                                               .norm = norm(name_ + ".mlp_norm", kept.middle, kept.mlp_input,
                                                            kept.mlp_mean, kept.mlp_rstd)});

  const TensorView transformed = mlp_.forward(kept.mlp, kept.mlp_input);
  const ops::Residual end{.residual = kept.middle,
                          .branch = transformed,
                          .bias = mlp_.output_bias(),
                          .out = out,
                          .dropout = with_dropout ? mlp_dropout_ : ops::Dropout{},
                          .rows = rows};
  record_branch(name_ + ".mlp", microbatch, end);
  ops::residual(context_->queue(), end);
  context_->record(name_, microbatch, out);
}

// The branch alone exists only inside the fused operation; for a tap it is computed once more, where the sum will
// stand.
void Block::record_branch(const std::string& tap, const MicrobatchView& microbatch, const ops::Residual& joined) const {
  if (!context_->taps(tap)) return;
  ops::Residual alone = joined;
  alone.residual = {};
  ops::residual(context_->queue(), alone);
  context_->record(tap, microbatch, alone.out);
}

void Block::input_gradient(const MicrobatchView& microbatch, const Activations& kept, const Held& held,
                           TensorView gradient, BackwardHalves halves) const {
  const ops::TokenRows rows = context_->token_rows(microbatch);
  const auto through_norm = [&](const std::string& name, TensorView dy, TensorView x, TensorView mean,
                                TensorView rstd) {
    ops::layer_norm_gradient(context_->queue(), {.dy = dy,
                                                 .x = x,
                                                 .weight = context_->weight(name + ".weight"),
                                                 .mean = mean,
                                                 .rstd = rstd,
                                                 .residual_gradient = gradient,
                                                 .dx = gradient,
                                                 .dweight = context_->gradient(name + ".weight"),
                                                 .dbias = context_->gradient(name + ".bias")});
  };
  context_->record(name_ + ".gradient", microbatch, gradient);
  context_->record(name_ + ".mlp.gradient", microbatch, gradient);
  ops::dropout_gradient(context_->queue(),
                        {.dout = gradient, .dbranch = held.mlp.branch_gradient, .dropout = mlp_dropout_, .rows = rows});
  const TensorView from_mlp = mlp_.input_gradient(kept.mlp, held.mlp);
  if (halves == BackwardHalves::fused)
    mlp_.weight_gradient(kept.mlp, held.mlp, kept.mlp_input, GatheredGradient::in_scratch);
  through_norm(name_ + ".mlp_norm", from_mlp, kept.middle, kept.mlp_mean, kept.mlp_rstd);

  context_->record(name_ + ".attention.gradient", microbatch, gradient);
  ops::dropout_gradient(
      context_->queue(),
      {.dout = gradient, .dbranch = held.attention.branch_gradient, .dropout = attention_dropout_, .rows = rows});
  const TensorView from_attention = attention_.input_gradient(microbatch, kept.attention, held.attention);
  if (halves == BackwardHalves::fused)
    attention_.weight_gradient(kept.attention, held.attention, kept.attention_input, GatheredGradient::in_scratch);
  through_norm(name_ + ".attention_norm", from_attention, kept.x, kept.attention_mean, kept.attention_rstd);
}

void Block::weight_gradient(const Activations& kept, const Held& held) const {
  mlp_.weight_gradient(kept.mlp, held.mlp, kept.mlp_input, GatheredGradient::again);
  attention_.weight_gradient(kept.attention, held.attention, kept.attention_input, GatheredGradient::again);
}

}  // namespace penstock
