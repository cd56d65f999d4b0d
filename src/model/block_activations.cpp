// SPDX-License-Identifier: Apache-2.0
#include "model/block_activations.hpp"

#include "base/error.hpp"

namespace penstock {

namespace {

struct Size {
  DType type = DType::float32;
  Shape extents = {};  ///< none: the branch has no such tensor
};
Size stream(const ModelShape& shape, const BranchDescription&) {
  return {shape.cut.compute, {shape.rows(), shape.width()}};
}
Size statistic(const ModelShape& shape, const BranchDescription&) { return {DType::float32, {shape.rows()}}; }
Size mean(const ModelShape& shape, const BranchDescription& branch) {
  return shape.model->norm == NormKind::layer ? statistic(shape, branch) : Size{};
}
Size all_rows(const ModelShape& shape, const BranchDescription&) {
  return {shape.cut.compute, {shape.tokens(), shape.width()}};
}
Size inner(const ModelShape& shape, const BranchDescription& branch) {
  return {shape.cut.compute, {shape.tokens(), shape.inner_channels(branch)}};
}
Size core(const ModelShape& shape, const BranchDescription& branch) {
  return {shape.cut.compute, {shape.tokens(), shape.core_channels(branch)}};
}
Size rotated(const ModelShape& shape, const BranchDescription& branch) {
  return branch.attention() && branch.attention()->rotates_apart() ? inner(shape, branch) : Size{};
}
Size head_norms(const ModelShape& shape, const BranchDescription& branch) {
  const AttentionCore* attention = branch.attention();
  if (!attention || !attention->query_key_norm) return {};
  return {DType::float32, {shape.tokens(), shape.heads(*attention) + shape.kv_heads(*attention)}};
}
Size head_rows(const ModelShape& shape, const BranchDescription& branch) {
  if (!branch.attention()) return {};
  return {DType::float32, {shape.samples, shape.heads(*branch.attention()), shape.sequence}};
}

/// A tensor of a branch: the part it belongs to, its size, and whether the memory plan counts it as the branch's own.
struct Member {
  TensorView BranchActivations::*tensor;
  BranchPart part;
  Size (*size)(const ModelShape&, const BranchDescription&);
  bool inside;
};
using A = BranchActivations;
constexpr Member members[] = {
    {&A::x, BranchPart::input, stream, false},         {&A::mean, BranchPart::norm, mean, false},
    {&A::rstd, BranchPart::norm, statistic, false},    {&A::normalized, BranchPart::norm, stream, false},
    {&A::tokens, BranchPart::tokens, all_rows, false}, {&A::inner, BranchPart::inner, inner, true},
    {&A::rotated, BranchPart::core, rotated, true},    {&A::head_rstd, BranchPart::core, head_norms, true},
    {&A::core, BranchPart::core, core, true},          {&A::statistics, BranchPart::core, head_rows, true},
};

}  // namespace

BlockActivations take_activations(const ModelShape& shape, BlockParts parts, MemoryUse use, Arena& arena,
                                  const BlockActivations& otherwise) {
  BlockActivations taken = otherwise;
  const std::vector<BranchDescription>& branches = shape.branches();
  ensure(branches.size() <= most_branches, "a block has more branches than most_branches");
  for (std::size_t b = 0; b < branches.size(); ++b)
    for (const Member& member : members) {
      if (!parts.has({b, member.part})) continue;
      const Size size = member.size(shape, branches[b]);
      if (size.extents.dimensions() == 0) continue;
      taken[b].*member.tensor =
          arena.take(use, size.type, size.extents, member.inside ? std::string_view(branches[b].name) : "outside");
    }
  return taken;
}

BlockActivations laid_over(const BlockActivations& below, const BlockActivations& above) {
  BlockActivations both = below;
  for (std::size_t b = 0; b < most_branches; ++b)
    for (const Member& member : members)
      if ((above[b].*member.tensor).present()) both[b].*member.tensor = above[b].*member.tensor;
  return both;
}

}  // namespace penstock
