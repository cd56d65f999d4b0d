// SPDX-License-Identifier: Apache-2.0
#include "model/model_context.hpp"

#include <algorithm>

namespace penstock {

ModelScratch::ModelScratch(const ModelShape& shape, Arena& arena) {
  const std::int64_t tokens = shape.tokens(), width = shape.width();
  if (shape.cut_rows()) {
    gathered = arena.take(MemoryUse::buffers, shape.cut.compute, {tokens, width});
    gathered_gradient = arena.take(MemoryUse::buffers, shape.cut.compute, {tokens, width});
  }
  partial = arena.take(MemoryUse::buffers, shape.partial(), {tokens, width});
  std::int64_t widest = 0;
  for (const BranchDescription& branch : shape.branches())
    if (!branch.activation_in_products()) widest = std::max(widest, shape.core_channels(branch));
  core_gradient = arena.take(MemoryUse::buffers, shape.cut.compute, {tokens, widest});
  remade = take_activations(shape, remade_parts(shape), MemoryUse::buffers, arena);
}

TensorView ModelContext::gather_rows(TensorView rows, TensorView landing) const {
  if (!shape_.cut_rows()) return rows;
  tensor_axis_->wait(tensor_axis_->all_gather(rows, landing));
  return landing;
}

TensorView ModelContext::sum_partials(TensorView partial) const {
  if (shape_.cut.tensor == 1) return partial;
  if (taps_) taps_->record_part(*queue_, partial);
  if (!shape_.cut_rows()) {
    tensor_axis_->wait(tensor_axis_->all_reduce(partial));
    return partial;
  }
  const TensorView own = partial.rows(shape_.first_row(), shape_.rows());
  tensor_axis_->wait(tensor_axis_->reduce_scatter(partial, own));
  return own;
}

void ModelContext::exchange(TensorView own_part, TensorView all) const {
  tensor_axis_->wait(tensor_axis_->all_gather(own_part, all));
}

}  // namespace penstock
