#include "model/recompute.hpp"

#include <array>
#include <utility>

#include "base/error.hpp"

namespace penstock {

namespace {

constexpr BlockParts tokens_of_all_ranks{BlockPart::attention_tokens, BlockPart::mlp_tokens};
constexpr BlockParts own_parts{BlockPart::input,  BlockPart::attention_norm, BlockPart::qkv, BlockPart::attention,
                               BlockPart::middle, BlockPart::mlp_norm,       BlockPart::mlp};

bool remakes_blocks(const ModelShape& shape) {
  return shape.recompute == Recompute::block || shape.recompute == Recompute::block_local;
}

constexpr std::array<std::pair<Recompute, std::string_view>, 4> words{{{Recompute::none, "none"},
                                                                       {Recompute::attention, "attention"},
                                                                       {Recompute::block, "block"},
                                                                       {Recompute::block_local, "block-local"}}};

}  // namespace

BlockParts all_parts(const ModelShape& shape) {
  return remakes_blocks(shape) && shape.cut_rows() ? own_parts | tokens_of_all_ranks : own_parts;
}

BlockParts kept_parts(const ModelShape& shape) {
  switch (shape.recompute) {
    case Recompute::none:
      return own_parts;
    case Recompute::attention:
      return own_parts.without({BlockPart::attention});
    case Recompute::block:
      return {BlockPart::input};
    case Recompute::block_local:
      return shape.cut.tensor > 1 ? BlockParts{BlockPart::input, BlockPart::middle} : BlockParts{BlockPart::input};
  }
  throw LogicError("a recomputation policy without parts");
}

BlockParts remade_parts(const ModelShape& shape) { return all_parts(shape).without(kept_parts(shape)); }

BlockParts held_parts(const ModelShape& shape) {
  const BlockParts normalized =
      shape.cut_rows() ? tokens_of_all_ranks : BlockParts{BlockPart::attention_norm, BlockPart::mlp_norm};
  return remade_parts(shape) & (normalized | BlockParts{BlockPart::attention, BlockPart::mlp});
}

RecomputeCost recompute_cost(const ModelShape& shape) {
  const BlockParts again = remade_parts(shape);
  const std::int64_t tokens = shape.tokens(), width = shape.width(), peers = shape.cut.tensor - 1;
  const auto product = [&](std::int64_t inputs, std::int64_t outputs) {
    return 2.0 * static_cast<double>(tokens) * static_cast<double>(inputs) * static_cast<double>(outputs);
  };
  RecomputeCost cost;
  if (again.has(BlockPart::qkv)) cost.flops += product(width, 3 * shape.head_width());
  // Scores and their sums over half of the keys, the causal ones: 2 (T + 1) a channel and token.
  if (again.has(BlockPart::attention)) cost.flops += product(shape.head_width(), shape.sequence + 1);
  if (again.has(BlockPart::middle)) cost.flops += product(shape.head_width(), width);
  if (again.has(BlockPart::mlp)) cost.flops += product(width, shape.hidden());

  // The sum: a reduce-scatter, and where rows are not cut a gather of as many bytes. Gathers of rows cost nothing more:
  // the weight gradients find them done.
  const auto piece = tokens * width / shape.cut.tensor * static_cast<std::int64_t>(bytes_of(shape.partial()));
  if (again.has(BlockPart::middle)) cost.bytes_sent = peers * piece * (shape.cut_rows() ? 1 : 2);
  return cost;
}

RecomputeCost operator*(const RecomputeCost& cost, std::int64_t times) {
  return {.flops = cost.flops * static_cast<double>(times), .bytes_sent = cost.bytes_sent * times};
}

Recompute parse_recompute(std::string_view word) {
  for (const auto& [policy, name] : words)
    if (name == word) return policy;
  throw_input_error("\"{}\" is no recomputation policy; use none, attention, block or block-local", word);
}

std::string_view text(Recompute policy) {
  for (const auto& [known, name] : words)
    if (known == policy) return name;
  return "?";
}

}  // namespace penstock
