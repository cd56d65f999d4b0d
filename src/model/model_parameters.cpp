// SPDX-License-Identifier: Apache-2.0
#include "model/model_parameters.hpp"

namespace penstock {

namespace {

class Collector {
 public:
  Collector(const ModelDescription& model, const ModelCut& cut) : model_(model), cut_(cut) {}

  /// The following parameters belong to this block.
  void enter(int block) { block_ = block; }

  // A weight [out, in] or a table, in the computing type, decayed.
  void matrix(const std::string& name, const Shape& shape, const Split& split, double deviation,
              std::vector<int> stages) {
    specs_.push_back({.name = name,
                      .shape = shape,
                      .split = split,
                      .init = Init::normal,
                      .deviation = deviation,
                      .decay = true,
                      .type = cut_.compute,
                      .gradient_type = cut_.gradient,
                      .stages = std::move(stages),
                      .block = block_});
  }
  // Its gradient is added up row by row, in float32; for a tied table the layout does that.
  void token_table(const Split& split, std::vector<int> stages) {
    matrix("embedding.token.weight", {model_.vocabulary, model_.width}, split, model_.deviation, std::move(stages));
    if (!model_.tied) specs_.back().gradient_type = DType::float32;
  }
  void bias(const std::string& name, std::int64_t length, const Split& split, int stage) {
    specs_.push_back({.name = name, .shape = {length}, .split = split, .stages = {stage}, .block = block_});
  }
  void norm(const std::string& name, int stage) {
    const GradientSums sums = sums_of_copies();
    specs_.push_back({.name = name + ".weight",
                      .shape = {model_.width},
                      .init = Init::ones,
                      .sums = sums,
                      .stages = {stage},
                      .block = block_});
    if (model_.norm == NormKind::rms) return;
    specs_.push_back(
        {.name = name + ".bias", .shape = {model_.width}, .sums = sums, .stages = {stage}, .block = block_});
  }
  void positions(int stage) {
    specs_.push_back({.name = "embedding.position.weight",
                      .shape = {model_.positions, model_.width},
                      .init = Init::normal,
                      .deviation = model_.deviation,
                      .decay = true,
                      .sums = sums_of_copies(),
                      .stages = {stage}});
  }
  void branch(const std::string& block, const BranchDescription& branch, int stage) {
    const std::string prefix = block + branch.name;
    const Split inputs{.dimension = 1, .parts = cut_.tensor};
    const std::string out = prefix + "." + branch.out.name;
    norm(prefix + "_norm", stage);
    for_each_weight(branch.in, [&](const InWeight& weight, const Split& split) {
      matrix(prefix + "." + weight.name + ".weight", {weight.outputs(), model_.width}, split, model_.deviation,
             {stage});
    });
    if (branch.in.bias)
      for_each_weight(branch.in, [&](const InWeight& weight, const Split& split) {
        bias(prefix + "." + weight.name + ".bias", weight.outputs(), split, stage);
      });
    if (branch.attention() && branch.attention()->query_key_norm)
      for (const char* of : {".query_norm.weight", ".key_norm.weight"})
        head_norm(prefix + of, *branch.attention(), stage);
    matrix(out + ".weight", {model_.width, branch.core_channels()}, inputs, model_.residual_deviation, {stage});
    if (branch.out.bias) bias(out + ".bias", model_.width, {}, stage);
  }

  std::vector<ParameterSpec> take() { return std::move(specs_); }

 private:
  // Each rank applies them to its own heads.
  void head_norm(const std::string& name, const AttentionCore& attention, int stage) {
    specs_.push_back({.name = name,
                      .shape = {attention.head_channels},
                      .init = Init::ones,
                      .sums = cut_.tensor > 1 ? over_tensor_ranks() : GradientSums{},
                      .stages = {stage},
                      .block = block_});
  }
  // Calls collect(weight, its split) for the weights of a product; all but the first follow it in memory.
  template <typename Collect>
  void for_each_weight(const InProduct& product, const Collect& collect) {
    for (const InWeight& weight : product.weights) {
      Split split{.dimension = 0, .parts = cut_.tensor};
      for (const OutputSection& section : weight.sections)
        split.sections.push_back({section.extent(), section.parts(cut_.tensor)});
      collect(weight, split);
      specs_.back().follows = &weight != &product.weights.front();
    }
  }

  static GradientSums over_tensor_ranks() { return {.inside = {Axis::tensor}}; }
  // Parameters that every tensor rank holds and applies to its own rows only.
  GradientSums sums_of_copies() const {
    return cut_.sequence_parallel && cut_.tensor > 1 ? over_tensor_ranks() : GradientSums{};
  }

  const ModelDescription& model_;
  const ModelCut& cut_;
  int block_ = outside_blocks;
  std::vector<ParameterSpec> specs_;
};

}  // namespace

std::vector<ParameterSpec> model_parameters(const ModelDescription& model, const ModelCut& cut,
                                            const std::vector<StagePart>& parts) {
  const int first = parts.front().stage, last = parts.back().stage;
  const ModelShape shape{.model = &model, .cut = cut};
  const Split vocabulary{.dimension = 0, .parts = cut.tensor, .padded_extent = shape.vocabulary_rows() * cut.tensor};

  Collector collect(model, cut);
  collect.token_table(vocabulary, model.tied ? std::vector<int>{first, last} : std::vector<int>{first});
  if (model.learned_positions) collect.positions(first);
  for (const StagePart& part : parts)
    for (int i = part.first_block; i < part.first_block + part.blocks; ++i) {
      collect.enter(i);
      for (const BranchDescription& branch : model.block(i).branches)
        collect.branch("blocks." + std::to_string(i) + ".", branch, part.stage);
    }
  collect.enter(outside_blocks);
  collect.norm("final_norm", last);
  if (!model.tied) collect.matrix("head.weight", {model.vocabulary, model.width}, vocabulary, model.deviation, {last});
  return collect.take();
}

}  // namespace penstock
