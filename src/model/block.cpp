#include "model/block.hpp"

namespace penstock {

Block::Held Block::take_held(const ModelShape& shape, BlockParts remade, Arena& arena) {
  return {.attention = AttentionLayer::take_held(shape, arena),
          .mlp = MlpLayer::take_held(shape, arena),
          .remade = take_activations(shape, remade, MemoryUse::buffers, arena)};
}

Block::Block(ModelContext& context, int index)
    : context_(&context),
      name_("blocks." + std::to_string(index)),
      attention_(context, name_ + ".attention"),
      mlp_(context, name_ + ".mlp"),
      attention_dropout_(context.dropout(name_ + ".attention", context.shape().config.dropout_residual)),
      mlp_dropout_(context.dropout(name_ + ".mlp", context.shape().config.dropout_residual)) {}

ops::LayerNorm Block::attention_norm(const BlockActivations& kept) const {
  return {.x = kept.x,
          .weight = context_->weight(name_ + ".attention_norm.weight"),
          .bias = context_->weight(name_ + ".attention_norm.bias"),
          .y = kept.attention_input,
          .mean = kept.attention_mean,
          .rstd = kept.attention_rstd};
}

ops::LayerNorm Block::mlp_norm(const BlockActivations& kept) const {
  return {.x = kept.middle,
          .weight = context_->weight(name_ + ".mlp_norm.weight"),
          .bias = context_->weight(name_ + ".mlp_norm.bias"),
          .y = kept.mlp_input,
          .mean = kept.mlp_mean,
          .rstd = kept.mlp_rstd};
}

void Block::forward(const MicrobatchView& microbatch, const BlockActivations& kept, TensorView out, Pass pass) const {
  compute(microbatch, kept, all_parts(context_->shape()), pass);
  const ops::Residual end{.residual = kept.middle,
                          .branch = mlp_.down(kept),
                          .bias = mlp_.output_bias(),
                          .out = out,
                          .dropout = pass == Pass::evaluation ? ops::Dropout{} : mlp_dropout_,
                          .rows = context_->token_rows(microbatch)};
  record_branch(name_ + ".mlp", microbatch, end);
  ops::residual(context_->queue(), end);
  context_->record(name_, microbatch, out);
}

// Whatever the pass, a part is computed by the same operation from the same arguments: its bits are the same. (The norm
// behind a kept middle has those of the norm that is fused with the sum.)
void Block::compute(const MicrobatchView& microbatch, const BlockActivations& kept, BlockParts parts, Pass pass) const {
  const bool with_dropout = pass != Pass::evaluation;
  if (parts.has(BlockPart::attention_norm)) ops::layer_norm(context_->queue(), attention_norm(kept));
  if (parts.has(BlockPart::attention_tokens)) context_->gather_rows(kept.attention_input, kept.attention_tokens);
  if (parts.has(BlockPart::qkv)) attention_.project(kept);
  if (parts.has(BlockPart::attention)) attention_.attend(microbatch, kept, with_dropout);
  if (parts.has(BlockPart::middle)) {
    const ops::Residual middle{.residual = kept.x,
                               .branch = attention_.output(kept),
                               .bias = attention_.output_bias(),
                               .out = kept.middle,
                               .dropout = with_dropout ? attention_dropout_ : ops::Dropout{},
                               .rows = context_->token_rows(microbatch)};
    if (pass != Pass::again) record_branch(name_ + ".attention", microbatch, middle);
    ops::residual_layer_norm(context_->queue(), {.residual = middle, .norm = mlp_norm(kept)});
  } else if (parts.has(BlockPart::mlp_norm)) {
    ops::layer_norm(context_->queue(), mlp_norm(kept));
  }
  if (parts.has(BlockPart::mlp_tokens)) context_->gather_rows(kept.mlp_input, kept.mlp_tokens);
  if (parts.has(BlockPart::mlp)) mlp_.up(kept);
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

void Block::input_gradient(const MicrobatchView& microbatch, const BlockActivations& slot, const Held& held,
                           TensorView gradient, BackwardHalves halves) const {
  const BlockActivations kept = laid_over(slot, held.remade);
  compute(microbatch, kept, remade_parts(context_->shape()), Pass::again);
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
  const TensorView from_mlp = mlp_.input_gradient(kept, held.mlp);
  if (halves == BackwardHalves::fused) mlp_.weight_gradient(kept, held.mlp, GatheredGradient::in_scratch);
  through_norm(name_ + ".mlp_norm", from_mlp, kept.middle, kept.mlp_mean, kept.mlp_rstd);

  context_->record(name_ + ".attention.gradient", microbatch, gradient);
  ops::dropout_gradient(
      context_->queue(),
      {.dout = gradient, .dbranch = held.attention.branch_gradient, .dropout = attention_dropout_, .rows = rows});
  const TensorView from_attention = attention_.input_gradient(microbatch, kept, held.attention);
  if (halves == BackwardHalves::fused) attention_.weight_gradient(kept, held.attention, GatheredGradient::in_scratch);
  through_norm(name_ + ".attention_norm", from_attention, kept.x, kept.attention_mean, kept.attention_rstd);
}

void Block::weight_gradient(const BlockActivations& slot, const Held& held) const {
  const BlockActivations kept = laid_over(slot, held.remade);
  mlp_.weight_gradient(kept, held.mlp, GatheredGradient::again);
  attention_.weight_gradient(kept, held.attention, GatheredGradient::again);
}

}  // namespace penstock
