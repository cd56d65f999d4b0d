#include "model/stage.hpp"

namespace penstock {

Stage::Stage(ModelContext& context, const StagePart& part, const StageSlots& slots, Arena& arena)
    : context_(&context), part_(part), backward_(slots.backward) {
  const ModelShape& shape = context.shape();
  const auto blocks = static_cast<std::size_t>(part.blocks);
  for (int i = 0; i < part.blocks; ++i) blocks_.emplace_back(context, part.first_block + i);
  if (part.embedding) embedding_.emplace(context, arena);
  if (part.head) head_.emplace(context, slots.held, arena);
  for (int slot = 0; slot < slots.activations; ++slot) {
    auto& kept = slots_.emplace_back();
    for (int i = 0; i < part.blocks; ++i)
      kept.push_back(
          take_activations(shape, kept_parts(shape), MemoryUse::activations, arena, context.scratch().remade));
    if (part.head)
      last_output_.push_back(
          arena.take(MemoryUse::activations, shape.cut.compute, {shape.rows(), shape.width()}, "outside"));
  }
  for (int h = 0; h < slots.held; ++h) {
    auto& held = held_.emplace_back();
    if (slots.backward == BackwardHalves::fused)  // each block is done with it before the next one begins
      held.assign(blocks, Block::take_held(shape, slots.backward, {}, arena));
    else
      for (int i = 0; i < part.blocks; ++i)
        held.push_back(Block::take_held(shape, slots.backward, held_parts(shape), arena));
  }
}

void Stage::forward(const MicrobatchView& microbatch, int slot, TensorView output, Purpose purpose,
                    double* loss_sum) const {
  const auto s = static_cast<std::size_t>(slot);
  const bool training = purpose == Purpose::training;
  const std::vector<BlockActivations>& kept = slots_[s];
  const TensorView end = part_.head ? last_output_[s] : output;
  if (embedding_) embedding_->forward(microbatch, kept.front().x, training);
  for (std::size_t i = 0; i < blocks_.size(); ++i)
    blocks_[i].forward(microbatch, kept[i], i + 1 < blocks_.size() ? kept[i + 1].x : end,
                       training ? Pass::training : Pass::evaluation);
  if (head_ && purpose == Purpose::evaluation) head_->evaluate(microbatch, end, loss_sum);
}

void Stage::input_gradient(const MicrobatchView& microbatch, int slot, int held, TensorView gradient,
                           BackwardHalves halves, float loss_scale, double* loss_sum) const {
  ensure(halves == BackwardHalves::fused || backward_ == BackwardHalves::input_only,
         "a stage that was planned with a fused backward has no room for gradients that wait");
  const auto s = static_cast<std::size_t>(slot), h = static_cast<std::size_t>(held);
  if (head_) {
    head_->input_gradient(microbatch, last_output_[s], held, loss_scale, gradient, loss_sum);
    if (halves == BackwardHalves::fused) head_->weight_gradient(held);
  }
  for (std::size_t i = blocks_.size(); i-- > 0;)
    blocks_[i].input_gradient(microbatch, slots_[s][i], held_[h][i], gradient, halves);
  if (embedding_) embedding_->gradient(microbatch, gradient);
}

void Stage::weight_gradient(int slot, int held) const {
  const auto s = static_cast<std::size_t>(slot), h = static_cast<std::size_t>(held);
  if (head_) head_->weight_gradient(held);
  for (std::size_t i = blocks_.size(); i-- > 0;) blocks_[i].weight_gradient(slots_[s][i], held_[h][i]);
}

}  // namespace penstock
