// SPDX-License-Identifier: Apache-2.0
#include "model/block_activations.hpp"

namespace penstock {

namespace {

struct Size {
  DType type;
  Shape extents;
};
Size stream(const ModelShape& shape) { return {shape.cut.compute, {shape.rows(), shape.width()}}; }
Size statistic(const ModelShape& shape) { return {DType::float32, {shape.rows()}}; }
Size all_rows(const ModelShape& shape) { return {shape.cut.compute, {shape.tokens(), shape.width()}}; }
Size three_heads(const ModelShape& shape) { return {shape.cut.compute, {shape.tokens(), 3 * shape.head_width()}}; }
Size heads(const ModelShape& shape) { return {shape.cut.compute, {shape.tokens(), shape.head_width()}}; }
Size head_rows(const ModelShape& shape) { return {DType::float32, {shape.samples, shape.heads(), shape.sequence}}; }
Size hidden(const ModelShape& shape) { return {shape.cut.compute, {shape.tokens(), shape.hidden()}}; }

/// A tensor of a block: the part it belongs to, its size, and the share of the memory plan it is counted in.
struct Member {
  TensorView BlockActivations::*tensor;
  BlockPart part;
  Size (*size)(const ModelShape&);
  std::string_view share;
};
using A = BlockActivations;
constexpr Member members[] = {
    {&A::x, BlockPart::input, stream, "outside"},
    {&A::attention_mean, BlockPart::attention_norm, statistic, "outside"},
    {&A::attention_rstd, BlockPart::attention_norm, statistic, "outside"},
    {&A::attention_input, BlockPart::attention_norm, stream, "outside"},
    {&A::attention_tokens, BlockPart::attention_tokens, all_rows, "outside"},
    {&A::qkv, BlockPart::qkv, three_heads, "attention"},
    {&A::attended, BlockPart::attention, heads, "attention"},
    {&A::log_sum_exp, BlockPart::attention, head_rows, "attention"},
    {&A::middle, BlockPart::middle, stream, "outside"},
    {&A::mlp_mean, BlockPart::mlp_norm, statistic, "outside"},
    {&A::mlp_rstd, BlockPart::mlp_norm, statistic, "outside"},
    {&A::mlp_input, BlockPart::mlp_norm, stream, "outside"},
    {&A::mlp_tokens, BlockPart::mlp_tokens, all_rows, "outside"},
    {&A::pre_activation, BlockPart::pre_activation, hidden, "mlp"},
    {&A::hidden, BlockPart::hidden, hidden, "mlp"},
};

}  // namespace

BlockActivations take_activations(const ModelShape& shape, BlockParts parts, MemoryUse use, Arena& arena,
                                  const BlockActivations& otherwise) {
  BlockActivations taken = otherwise;
  for (const Member& member : members) {
    if (!parts.has(member.part)) continue;
    const Size size = member.size(shape);
    taken.*member.tensor = arena.take(use, size.type, size.extents, member.share);
  }
  return taken;
}

BlockActivations laid_over(const BlockActivations& below, const BlockActivations& above) {
  BlockActivations both = below;
  for (const Member& member : members)
    if ((above.*member.tensor).present()) both.*member.tensor = above.*member.tensor;
  return both;
}

}  // namespace penstock
