// SPDX-License-Identifier: Apache-2.0
#include "model/recompute.hpp"

#include <array>
#include <utility>

#include "base/error.hpp"

namespace penstock {

namespace {

/// The parts of all branches for which `choose(branch number, its description, part)` holds.
template <typename Choose>
BlockParts parts_where(const ModelShape& shape, const Choose& choose) {
  BlockParts chosen{};
  const std::vector<BranchDescription>& branches = shape.branches();
  for (std::size_t b = 0; b < branches.size(); ++b)
    for (const BranchPart part :
         {BranchPart::input, BranchPart::norm, BranchPart::tokens, BranchPart::inner, BranchPart::core})
      if (choose(b, branches[b], part)) chosen = chosen | BlockParts{{b, part}};
  return chosen;
}

BlockParts every(const ModelShape& shape, BranchPart part) {
  return parts_where(shape, [&](std::size_t, const BranchDescription&, BranchPart p) { return p == part; });
}

BlockParts own_parts(const ModelShape& shape) {
  return parts_where(shape,
                     [](std::size_t, const BranchDescription&, BranchPart p) { return p != BranchPart::tokens; });
}

BlockParts elementwise_parts(const ModelShape& shape) {
  return parts_where(shape, [](std::size_t, const BranchDescription& branch, BranchPart p) {
    return p == BranchPart::norm || (p == BranchPart::core && branch.mlp());
  });
}

BlockParts attention_parts(const ModelShape& shape) {
  return parts_where(shape, [](std::size_t, const BranchDescription& branch, BranchPart p) {
    return p == BranchPart::core && branch.attention();
  });
}

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
  const BlockParts own = own_parts(shape);
  return remakes_blocks(shape) && shape.cut_rows() ? own | every(shape, BranchPart::tokens) : own;
}

BlockParts kept_parts(const ModelShape& shape) {
  switch (shape.recompute) {
    case Recompute::none:
      return own_parts(shape);
    case Recompute::elementwise:
      return own_parts(shape).without(elementwise_parts(shape));
    case Recompute::attention:
      return own_parts(shape).without(attention_parts(shape));
    case Recompute::block:
      return {{0, BranchPart::input}};
    case Recompute::block_local:
      return shape.cut.tensor > 1 ? every(shape, BranchPart::input) : BlockParts{{0, BranchPart::input}};
  }
  throw LogicError("a recomputation policy without parts");
}

BlockParts remade_parts(const ModelShape& shape) { return all_parts(shape).without(kept_parts(shape)); }

// The inputs of the weight gradients' products, and an MLP's input to its activation, which its gradient overwrites.
BlockParts held_parts(const ModelShape& shape) {
  const BlockParts again = remade_parts(shape);
  return again & parts_where(shape, [&](std::size_t b, const BranchDescription& branch, BranchPart p) {
           const bool gathered = again.has({b, BranchPart::tokens});
           return p == BranchPart::core || p == (gathered ? BranchPart::tokens : BranchPart::norm) ||
                  (p == BranchPart::inner && branch.mlp());
         });
}

bool has_activation_apart(const ModelShape& shape, std::size_t branch) {
  const BranchDescription& description = shape.branches()[branch];
  if (!description.mlp()) return false;
  if (!description.activation_in_products()) return true;
  return remade_parts(shape).has({branch, BranchPart::core}) && kept_parts(shape).has({branch, BranchPart::inner});
}

namespace {

std::int64_t bytes_moved(const ModelShape& shape, BlockParts again) {
  const auto type = static_cast<std::int64_t>(bytes_of(shape.cut.compute));
  const auto summed = static_cast<std::int64_t>(bytes_of(shape.partial()));
  const std::int64_t stream = shape.rows() * shape.width();
  std::int64_t bytes = 0;
  for (std::size_t b = 0; b < shape.branches().size(); ++b) {
    const BranchDescription& branch = shape.branches()[b];
    if (again.has({b, BranchPart::input}))  // the sum includes its norm: two tensors read, two written
      bytes += stream * (3 * type + summed);
    else if (again.has({b, BranchPart::norm}))
      bytes += 2 * stream * type;
    if (!again.has({b, BranchPart::core}) || !has_activation_apart(shape, b)) continue;
    const std::int64_t inner = shape.tokens() * shape.inner_channels(branch);
    bytes += (inner + shape.tokens() * shape.core_channels(branch)) * type;
    if (branch.activation_in_products()) bytes += inner * type;  // in the forward pass
  }
  return bytes;
}

}  // namespace

RecomputeCost recompute_cost(const ModelShape& shape) {
  const BlockParts again = remade_parts(shape);
  const std::int64_t tokens = shape.tokens(), width = shape.width(), peers = shape.cut.tensor - 1;
  const auto product = [&](std::int64_t inputs, std::int64_t outputs) {
    return 2.0 * static_cast<double>(tokens) * static_cast<double>(inputs) * static_cast<double>(outputs);
  };
  // The sum: a reduce-scatter, and if rows are not cut a gather of as many bytes. Gathers of rows cost nothing extra,
  // because the weight gradients reuse them.
  const auto piece = tokens * width / shape.cut.tensor * static_cast<std::int64_t>(bytes_of(shape.partial()));
  RecomputeCost cost;
  for (std::size_t b = 0; b < shape.branches().size(); ++b) {
    const BranchDescription& branch = shape.branches()[b];
    if (again.has({b, BranchPart::input})) {
      cost.flops += product(shape.core_channels(shape.branches()[b - 1]), width);
      cost.bytes_sent += peers * piece * (shape.cut_rows() ? 1 : 2);
    }
    if (again.has({b, BranchPart::inner})) cost.flops += product(width, shape.inner_channels(branch));
    // Scores and their sums over half of the keys, the causal ones: 2 (T + 1) for each channel and token.
    if (branch.attention() && again.has({b, BranchPart::core}))
      cost.flops += product(shape.core_channels(branch), shape.sequence + 1);
  }
  cost.bytes_moved = bytes_moved(shape, again);
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
  throw_input_error("\"{}\" is not a recomputation policy; use none, elementwise, attention, block or block-local",
                    word);
}

std::string_view text(Recompute policy) {
  for (const auto& [known, name] : words)
    if (known == policy) return name;
  return "?";
}

}  // namespace penstock
