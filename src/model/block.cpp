// SPDX-License-Identifier: Apache-2.0
#include "model/block.hpp"

#include <algorithm>

#include "base/fault.hpp"

namespace penstock {

// A fused backward finishes one branch before the one ahead of it, so their gradients share memory. It also finishes a
// branch before the stream's gradient changes, so without dropout the branch's gradient is the stream's.
Block::Held Block::take_held(const ModelShape& shape, BackwardHalves halves, BlockParts remade, Arena& arena) {
  Held held{.branches = {}, .remade = take_activations(shape, remade, MemoryUse::buffers, arena)};
  const std::vector<BranchDescription>& branches = shape.branches();
  const auto take = [&](std::int64_t rows, std::int64_t channels) {
    return arena.take(MemoryUse::buffers, shape.cut.compute, {rows, channels});
  };
  const bool waits = halves == BackwardHalves::input_only;
  for (std::size_t b = 0; b < branches.size(); ++b)
    if (waits || branches[b].dropout > 0) held.branches[b].branch_gradient = take(shape.rows(), shape.width());
  const std::int64_t tokens = shape.tokens();
  if (waits) {
    for (std::size_t b = 0; b < branches.size(); ++b)
      if (branches[b].attention()) held.branches[b].inner_gradient = take(tokens, shape.inner_channels(branches[b]));
    return held;
  }
  std::int64_t most = 0;
  for (const BranchDescription& branch : branches) most = std::max(most, shape.inner_channels(branch));
  const TensorView shared = take(tokens, most);
  for (std::size_t b = 0; b < branches.size(); ++b) {
    const std::int64_t channels = shape.inner_channels(branches[b]);
    held.branches[b].inner_gradient = shared.range(0, tokens * channels).reshaped({tokens, channels});
  }
  return held;
}

Block::Block(ModelContext& context, int index) : context_(&context), name_("blocks." + std::to_string(index)) {
  const std::vector<BranchDescription>& branches = context.shape().model->block(index).branches;
  for (std::size_t b = 0; b < branches.size(); ++b) {
    branches_.emplace_back(context, branches[b], b, name_);
    gradient_taps_.push_back(branches_.back().tap() + ".gradient");
  }
}

// A part is computed by the same operation from the same arguments, or by one with the same bits: the norm after a kept
// input has those of the norm that is fused with the sum.
void Block::compute(const MicrobatchView& microbatch, const BlockActivations& kept, BlockParts parts, Pass pass) const {
  const bool with_dropout = planted(Fault::other_recomputation) ? pass == Pass::training : pass != Pass::evaluation;
  for (std::size_t b = 0; b < branches_.size(); ++b) {
    const Branch& branch = branches_[b];
    if (b > 0 && parts.has({b, BranchPart::input})) {
      const Branch& before = branches_[b - 1];
      const ops::Residual joined =
          before.joined(microbatch, kept[b - 1], before.output(kept[b - 1]), kept[b].x, with_dropout);
      if (pass != Pass::again) record_branch(before, microbatch, joined);
      branch.normalize_after(joined, kept[b]);
    } else if (parts.has({b, BranchPart::norm})) {
      branch.normalize(kept[b]);
    }
    if (parts.has({b, BranchPart::tokens})) context_->gather_rows(kept[b].normalized, kept[b].tokens);
    if (parts.has({b, BranchPart::inner})) branch.project(kept[b]);
    if (parts.has({b, BranchPart::core})) branch.compute_core(microbatch, kept[b], with_dropout);
    if (pass != Pass::again) branch.record_heads(microbatch, kept[b], name_);
  }
}

void Block::hand_on(const MicrobatchView& microbatch, const BlockActivations& kept, TensorView out, Pass pass) const {
  const Branch& last = branches_.back();
  const BranchActivations& of_last = kept[branches_.size() - 1];
  const ops::Residual end = last.joined(microbatch, of_last, last.output(of_last), out, pass != Pass::evaluation);
  record_branch(last, microbatch, end);
  ops::residual(context_->queue(), end);
  context_->record({name_}, microbatch, out);
}

// The branch alone exists only inside the fused operation; for a tap it is computed once more, where the sum will
// stand.
void Block::record_branch(const Branch& branch, const MicrobatchView& microbatch, const ops::Residual& joined) const {
  const TapName tap{name_, branch.tap()};
  if (!context_->taps(tap)) return;
  ops::Residual alone = joined;
  alone.residual = {};
  ops::residual(context_->queue(), alone);
  context_->record(tap, microbatch, alone.out);
}

void Block::input_gradient(const MicrobatchView& microbatch, const BlockActivations& slot, const Held& held,
                           TensorView gradient, BackwardHalves halves, Accumulate accumulate) const {
  const BlockActivations kept = laid_over(slot, held.remade);
  compute(microbatch, kept, remade_parts(context_->shape()), Pass::again);
  context_->record({name_, ".gradient"}, microbatch, gradient);
  for (std::size_t b = branches_.size(); b-- > 0;) {
    const Branch& branch = branches_[b];
    context_->record({name_, gradient_taps_[b]}, microbatch, gradient);
    Branch::Held of_branch = held.branches[b];
    of_branch.branch_gradient = branch.through_dropout(microbatch, gradient, of_branch.branch_gradient);
    const TensorView normalized = branch.input_gradient(microbatch, kept[b], of_branch, accumulate.norms);
    if (halves == BackwardHalves::fused)
      branch.weight_gradient(kept[b], of_branch, GatheredGradient::in_scratch, accumulate.products);
    branch.norm_gradient(kept[b], normalized, gradient, accumulate.norms);
  }
}

void Block::weight_gradient(const BlockActivations& slot, const Held& held, Accumulate accumulate) const {
  const BlockActivations kept = laid_over(slot, held.remade);
  for (std::size_t b = branches_.size(); b-- > 0;)
    branches_[b].weight_gradient(kept[b], held.branches[b], GatheredGradient::again, accumulate.products);
}

}  // namespace penstock
