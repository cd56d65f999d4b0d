// SPDX-License-Identifier: Apache-2.0
#include "model/block.hpp"

#include <algorithm>

#include "base/fault.hpp"

namespace penstock {

// A fused backward is done with the MLP before attention begins, so that their gradients share a memory; and with a
// branch before the stream's gradient goes on, so that without dropout the branch's is the stream's.
Block::Held Block::take_held(const ModelShape& shape, BackwardHalves halves, BlockParts remade, Arena& arena) {
  Held held{.attention = {}, .mlp = {}, .remade = take_activations(shape, remade, MemoryUse::buffers, arena)};
  const auto take = [&](std::int64_t rows, std::int64_t channels) {
    return arena.take(MemoryUse::buffers, shape.cut.compute, {rows, channels});
  };
  const bool waits = halves == BackwardHalves::input_only;
  if (waits || shape.config.dropout_residual > 0) {
    held.attention.branch_gradient = take(shape.rows(), shape.width());
    held.mlp.branch_gradient = take(shape.rows(), shape.width());
  }
  const std::int64_t tokens = shape.tokens(), qkv = 3 * shape.head_width();
  if (waits) {
    held.attention.dqkv = take(tokens, qkv);
  } else {
    const std::int64_t most = std::max(shape.hidden(), qkv);
    const TensorView shared = take(tokens, most);
    held.mlp.hidden_gradient = shared.range(0, tokens * shape.hidden()).reshaped({tokens, shape.hidden()});
    held.attention.dqkv = shared.range(0, tokens * qkv).reshaped({tokens, qkv});
  }
  return held;
}

Block::Block(ModelContext& context, int index)
    : context_(&context),
      name_("blocks." + std::to_string(index)),
      attention_(context, name_ + ".attention"),
      mlp_(context, name_ + ".mlp"),
      attention_dropout_(context.dropout(name_ + ".attention", context.shape().config.dropout_residual)),
      mlp_dropout_(context.dropout(name_ + ".mlp", context.shape().config.dropout_residual)),
      attention_norm_{context.parameter(name_ + ".attention_norm.weight"),
                      context.parameter(name_ + ".attention_norm.bias")},
      mlp_norm_{context.parameter(name_ + ".mlp_norm.weight"), context.parameter(name_ + ".mlp_norm.bias")} {}

ops::LayerNorm Block::attention_norm(const BlockActivations& kept) const {
  return {.x = kept.x,
          .weight = attention_norm_.weight.value,
          .bias = attention_norm_.bias.value,
          .y = kept.attention_input,
          .mean = kept.attention_mean,
          .rstd = kept.attention_rstd};
}

ops::LayerNorm Block::mlp_norm(const BlockActivations& kept) const {
  return {.x = kept.middle,
          .weight = mlp_norm_.weight.value,
          .bias = mlp_norm_.bias.value,
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
  record_branch({name_, ".mlp"}, microbatch, end);
  ops::residual(context_->queue(), end);
  context_->record({name_}, microbatch, out);
}

// Whatever the pass, a part is computed by the same operation from the same arguments: its bits are the same. (The norm
// behind a kept middle has those of the norm that is fused with the sum.)
void Block::compute(const MicrobatchView& microbatch, const BlockActivations& kept, BlockParts parts, Pass pass) const {
  const bool with_dropout = planted(Fault::other_recomputation) ? pass == Pass::training : pass != Pass::evaluation;
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
    if (pass != Pass::again) record_branch({name_, ".attention"}, microbatch, middle);
    ops::residual_layer_norm(context_->queue(), {.residual = middle, .norm = mlp_norm(kept)});
  } else if (parts.has(BlockPart::mlp_norm)) {
    ops::layer_norm(context_->queue(), mlp_norm(kept));
  }
  if (parts.has(BlockPart::mlp_tokens)) context_->gather_rows(kept.mlp_input, kept.mlp_tokens);
  if (parts.has(BlockPart::pre_activation)) mlp_.up(kept);
  if (parts.has(BlockPart::hidden) && has_gelu_apart(context_->shape())) mlp_.activate(kept);
}

// The branch alone exists only inside the fused operation; for a tap it is computed once more, where the sum will
// stand.
void Block::record_branch(const TapName& tap, const MicrobatchView& microbatch, const ops::Residual& joined) const {
  if (!context_->taps(tap)) return;
  ops::Residual alone = joined;
  alone.residual = {};
  ops::residual(context_->queue(), alone);
  context_->record(tap, microbatch, alone.out);
}

// The gradient of a branch's output: in a place of its own where the branch has one, else the stream's itself.
TensorView Block::through_dropout(const MicrobatchView& microbatch, const ops::Dropout& dropout, TensorView gradient,
                                  TensorView own_place) const {
  if (!own_place.present()) return gradient;
  ops::dropout_gradient(
      context_->queue(),
      {.dout = gradient, .dbranch = own_place, .dropout = dropout, .rows = context_->token_rows(microbatch)});
  return own_place;
}

void Block::input_gradient(const MicrobatchView& microbatch, const BlockActivations& slot, const Held& held,
                           TensorView gradient, BackwardHalves halves, Accumulate accumulate) const {
  const BlockActivations kept = laid_over(slot, held.remade);
  compute(microbatch, kept, remade_parts(context_->shape()), Pass::again);
  const auto through_norm = [&](const Norm& norm, TensorView dy, TensorView x, TensorView mean, TensorView rstd) {
    ops::layer_norm_gradient(context_->queue(), {.dy = dy,
                                                 .x = x,
                                                 .weight = norm.weight.value,
                                                 .mean = mean,
                                                 .rstd = rstd,
                                                 .residual_gradient = gradient,
                                                 .dx = gradient,
                                                 .dweight = norm.weight.gradient,
                                                 .dbias = norm.bias.gradient,
                                                 .accumulate = accumulate.norms});
  };
  context_->record({name_, ".gradient"}, microbatch, gradient);
  context_->record({name_, ".mlp.gradient"}, microbatch, gradient);
  MlpLayer::Held mlp = held.mlp;
  mlp.branch_gradient = through_dropout(microbatch, mlp_dropout_, gradient, held.mlp.branch_gradient);
  const TensorView from_mlp = mlp_.input_gradient(kept, mlp);
  if (halves == BackwardHalves::fused)
    mlp_.weight_gradient(kept, mlp, GatheredGradient::in_scratch, accumulate.products);
  through_norm(mlp_norm_, from_mlp, kept.middle, kept.mlp_mean, kept.mlp_rstd);

  context_->record({name_, ".attention.gradient"}, microbatch, gradient);
  AttentionLayer::Held attention = held.attention;
  attention.branch_gradient = through_dropout(microbatch, attention_dropout_, gradient, held.attention.branch_gradient);
  const TensorView from_attention = attention_.input_gradient(microbatch, kept, attention);
  if (halves == BackwardHalves::fused)
    attention_.weight_gradient(kept, attention, GatheredGradient::in_scratch, accumulate.products);
  through_norm(attention_norm_, from_attention, kept.x, kept.attention_mean, kept.attention_rstd);
}

void Block::weight_gradient(const BlockActivations& slot, const Held& held, Accumulate accumulate) const {
  const BlockActivations kept = laid_over(slot, held.remade);
  mlp_.weight_gradient(kept, held.mlp, GatheredGradient::again, accumulate.products);
  attention_.weight_gradient(kept, held.attention, GatheredGradient::again, accumulate.products);
}

}  // namespace penstock
