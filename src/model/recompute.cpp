// SPDX-License-Identifier: Apache-2.0
#include "model/recompute.hpp"

#include <array>
#include <utility>

#include "base/error.hpp"

namespace penstock {

namespace {

constexpr BlockParts tokens_of_all_ranks{BlockPart::attention_tokens, BlockPart::mlp_tokens};
constexpr BlockParts own_parts{BlockPart::input,          BlockPart::attention_norm, BlockPart::qkv,
                               BlockPart::attention,      BlockPart::middle,         BlockPart::mlp_norm,
                               BlockPart::pre_activation, BlockPart::hidden};

bool remakes_blocks(const ModelShape& shape) {
  return shape.recompute == Recompute::block || shape.recompute == Recompute::block_local;
}

constexpr std::array<std::pair<Recompute, std::string_view>, 5> words{{{Recompute::none, "none"},
                                                                       {Recompute::elementwise, "elementwise"},
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
    case Recompute::elementwise:
      return own_parts.without({BlockPart::attention_norm, BlockPart::mlp_norm, BlockPart::hidden});
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
  const BlockParts again = remade_parts(shape);
  const BlockParts normalized = again.has(BlockPart::mlp_tokens)
                                    ? tokens_of_all_ranks
                                    : BlockParts{BlockPart::attention_norm, BlockPart::mlp_norm};
  return again & (normalized | BlockParts{BlockPart::attention, BlockPart::pre_activation, BlockPart::hidden});
}

bool has_gelu_apart(const ModelShape& shape) {
  return remade_parts(shape).has(BlockPart::hidden) && kept_parts(shape).has(BlockPart::pre_activation);
}

namespace {

std::int64_t bytes_moved(const ModelShape& shape, BlockParts again) {
  const auto type = static_cast<std::int64_t>(bytes_of(shape.cut.compute));
  const auto summed = static_cast<std::int64_t>(bytes_of(shape.partial()));
  const std::int64_t stream = shape.rows() * shape.width();
  const std::int64_t hidden = shape.tokens() * shape.hidden();
  std::int64_t bytes = 0;
  if (again.has(BlockPart::attention_norm)) bytes += 2 * stream * type;
  if (again.has(BlockPart::middle))  // the sum has its norm in it: two read, two written
    bytes += stream * (3 * type + summed);
  else if (again.has(BlockPart::mlp_norm))
    bytes += 2 * stream * type;
  if (has_gelu_apart(shape)) bytes += 3 * hidden * type;
  return bytes;
}

}  // namespace

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
  if (again.has(BlockPart::pre_activation)) cost.flops += product(width, shape.hidden());
  cost.bytes_moved = bytes_moved(shape, again);

  // The sum: a reduce-scatter, and where rows are not cut a gather of as many bytes. Gathers of rows cost nothing more:
  // the weight gradients find them done.
  const auto piece = tokens * width / shape.cut.tensor * static_cast<std::int64_t>(bytes_of(shape.partial()));
  if (again.has(BlockPart::middle)) cost.bytes_sent = peers * piece * (shape.cut_rows() ? 1 : 2);
  return cost;
}

RecomputeCost operator*(const RecomputeCost& cost, std::int64_t times) {
  return {.flops = cost.flops * static_cast<double>(times),
          .bytes_moved = cost.bytes_moved * times,
          .bytes_sent = cost.bytes_sent * times};
}

Recompute parse_recompute(std::string_view word) {
  for (const auto& [policy, name] : words)
    if (name == word) return policy;
  throw_input_error("\"{}\" is no recomputation policy; use none, elementwise, attention, block or block-local", word);
}

std::string_view text(Recompute policy) {
  for (const auto& [known, name] : words)
    if (known == policy) return name;
  return "?";
}

}  // namespace penstock
