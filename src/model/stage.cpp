// SPDX-License-Identifier: Apache-2.0
#include "model/stage.hpp"

namespace penstock {

Stage::Stage(ModelContext& context, const StagePart& part, const BlockMemory& memory, const StageSlots& slots,
             Arena& arena)
    : context_(&context), part_(part), memory_(&memory) {
  const ModelShape& shape = context.shape();
  for (int i = 0; i < part.blocks; ++i) blocks_.emplace_back(context, part.first_block + i);
  if (part.embedding) embedding_.emplace(context, arena);
  if (!part.head) return;
  head_.emplace(context, slots.held, arena);
  for (int i = 0; i < slots.ends; ++i)
    ends_.push_back(arena.take(MemoryUse::activations, shape.cut.compute, {shape.rows(), shape.width()}, "outside"));
}

void Stage::forward(const MicrobatchView& microbatch, const StagePlaces& at, TensorView output, Purpose purpose,
                    double* loss_sum) const {
  const bool training = purpose == Purpose::training;
  const Pass pass = training ? Pass::training : Pass::evaluation;
  const TensorView last = part_.head ? end(at) : output;
  if (embedding_) embedding_->forward(microbatch, input(at), training);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (BlockWatch* watch = context_->watch()) watch->before_weights(number(i));
    blocks_[i].compute(microbatch, kept(at, i), all_parts(context_->shape()), pass);
    blocks_[i].hand_on(microbatch, kept(at, i), i + 1 < blocks_.size() ? kept(at, i + 1).input() : last, pass);
  }
  if (head_ && purpose == Purpose::evaluation) head_->evaluate(microbatch, last, loss_sum);
}

void Stage::input_gradient(const MicrobatchView& microbatch, const StagePlaces& at, TensorView gradient,
                           BackwardHalves halves, Accumulate accumulate, float loss_scale, double* loss_sum) const {
  if (head_) {
    head_->input_gradient(microbatch, end(at), at.head.value(), loss_scale, gradient, accumulate, loss_sum);
    if (halves == BackwardHalves::fused) head_->weight_gradient(at.head.value(), accumulate);
  }
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    blocks_[i].input_gradient(microbatch, kept(at, i), held(at, i), gradient, halves, accumulate);
    if (BlockWatch* watch = context_->watch()) watch->behind_gradients(number(i));
  }
  if (embedding_) embedding_->gradient(microbatch, gradient, accumulate.norms);
}

void Stage::weight_gradient(const StagePlaces& at, Accumulate accumulate) const {
  if (head_) head_->weight_gradient(at.head.value(), accumulate);
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    blocks_[i].weight_gradient(kept(at, i), held(at, i), accumulate);
    if (BlockWatch* watch = context_->watch()) watch->behind_gradients(number(i));
  }
}

}  // namespace penstock
