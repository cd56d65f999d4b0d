// SPDX-License-Identifier: Apache-2.0
#include "model/gpt2_parameters.hpp"

#include <cmath>

namespace penstock {

namespace {

constexpr double deviation = 0.02;

class Collector {
 public:
  Collector(const ModelConfig& config, const ModelCut& cut) : config_(config), cut_(cut) {}

  /// What is collected from here on belongs to it.
  void enter(int block) { block_ = block; }

  // A weight [out, in] or a table, in the computing type, decayed.
  void matrix(const std::string& name, const Shape& shape, const Split& split, double spread, std::vector<int> stages) {
    specs_.push_back({.name = name,
                      .shape = shape,
                      .split = split,
                      .init = Init::normal,
                      .deviation = spread,
                      .decay = true,
                      .type = cut_.compute,
                      .gradient_type = cut_.gradient,
                      .stages = std::move(stages),
                      .block = block_});
  }
  void bias(const std::string& name, std::int64_t length, const Split& split, int stage) {
    specs_.push_back({.name = name, .shape = {length}, .split = split, .stages = {stage}, .block = block_});
  }
  void norm(const std::string& name, int stage) {
    const GradientOnTensorAxis gradient = gradient_of_copies();
    specs_.push_back({.name = name + ".weight",
                      .shape = {config_.width},
                      .init = Init::ones,
                      .gradient = gradient,
                      .stages = {stage},
                      .block = block_});
    specs_.push_back(
        {.name = name + ".bias", .shape = {config_.width}, .gradient = gradient, .stages = {stage}, .block = block_});
  }
  void positions(int stage) {
    specs_.push_back({.name = "embedding.position.weight",
                      .shape = {config_.positions, config_.width},
                      .init = Init::normal,
                      .deviation = deviation,
                      .decay = true,
                      .gradient = gradient_of_copies(),
                      .stages = {stage}});
  }

  std::vector<ParameterSpec> take() { return std::move(specs_); }

 private:
  // Parameters that every tensor rank holds and applies to its own rows only.
  GradientOnTensorAxis gradient_of_copies() const {
    return cut_.sequence_parallel && cut_.tensor > 1 ? GradientOnTensorAxis::partial : GradientOnTensorAxis::whole;
  }

  const ModelConfig& config_;
  const ModelCut& cut_;
  int block_ = outside_blocks;
  std::vector<ParameterSpec> specs_;
};

}  // namespace

std::vector<ParameterSpec> gpt2_parameters(const ModelConfig& config, const ModelCut& cut,
                                           const std::vector<StagePart>& parts) {
  const std::int64_t width = config.width, hidden = config.hidden();
  const int first = parts.front().stage, last = parts.back().stage;
  const double residual_deviation = deviation / std::sqrt(2.0 * static_cast<double>(config.layers));
  const Split rows{.dimension = 0, .parts = cut.tensor};     // column-parallel: outputs are cut
  const Split columns{.dimension = 1, .parts = cut.tensor};  // row-parallel: inputs are cut
  const Split heads{.dimension = 0, .parts = cut.tensor, .sections = 3};
  ModelShape shape{.config = config, .cut = cut};
  const Split vocabulary{.dimension = 0, .parts = cut.tensor, .padded_extent = shape.vocabulary_rows() * cut.tensor};

  Collector collect(config, cut);
  collect.matrix("embedding.token.weight", {config.vocabulary, width}, vocabulary, deviation, {first, last});
  collect.positions(first);
  for (const StagePart& part : parts)
    for (int i = part.first_block; i < part.first_block + part.blocks; ++i) {
      const std::string block = "blocks." + std::to_string(i) + ".";
      collect.enter(i);
      collect.norm(block + "attention_norm", part.stage);
      collect.matrix(block + "attention.qkv.weight", {3 * width, width}, heads, deviation, {part.stage});
      collect.bias(block + "attention.qkv.bias", 3 * width, heads, part.stage);
      collect.matrix(block + "attention.output.weight", {width, width}, columns, residual_deviation, {part.stage});
      collect.bias(block + "attention.output.bias", width, {}, part.stage);
      collect.norm(block + "mlp_norm", part.stage);
      collect.matrix(block + "mlp.up.weight", {hidden, width}, rows, deviation, {part.stage});
      collect.bias(block + "mlp.up.bias", hidden, rows, part.stage);
      collect.matrix(block + "mlp.down.weight", {width, hidden}, columns, residual_deviation, {part.stage});
      collect.bias(block + "mlp.down.bias", width, {}, part.stage);
    }
  collect.enter(outside_blocks);
  collect.norm("final_norm", last);
  return collect.take();
}

}  // namespace penstock
