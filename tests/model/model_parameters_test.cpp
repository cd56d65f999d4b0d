// SPDX-License-Identifier: Apache-2.0
#include "model/model_parameters.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <stdexcept>

namespace penstock::model_parameters_test {
namespace {

const ModelConfig gpt2{.layers = 12, .width = 768, .heads = 12, .vocabulary = 50257, .positions = 1024};
const ModelConfig small{.layers = 3, .width = 24, .heads = 6, .vocabulary = 70, .positions = 32};

std::vector<StagePart> parts_of(const ModelConfig& config, int stages) {
  return balanced_partition(stages, part_costs(describe_model(config), config.positions));
}

std::vector<ParameterSpec> parameters_of(const ModelConfig& config, const ModelCut& cut = {}, int stages = 1) {
  return model_parameters(describe_model(config), cut, parts_of(config, stages));
}

const ParameterSpec& find(const std::vector<ParameterSpec>& specs, const std::string& name) {
  for (const ParameterSpec& spec : specs)
    if (spec.name == name) return spec;
  throw std::runtime_error("there is no parameter " + name);
}

std::int64_t elements(const std::vector<ParameterSpec>& specs) {
  return std::accumulate(specs.begin(), specs.end(), std::int64_t{0},
                         [](std::int64_t sum, const ParameterSpec& spec) { return sum + spec.shape.elements(); });
}

TEST(ModelParameters, NamesAndShapesAreTheCheckpoints) {
  const std::int64_t c = 24;
  std::vector<std::pair<std::string, Shape>> expected{{"embedding.token.weight", {70, c}},
                                                      {"embedding.position.weight", {32, c}}};
  for (int i = 0; i < 3; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    expected.insert(expected.end(), {{block + "attention_norm.weight", {c}},
                                     {block + "attention_norm.bias", {c}},
                                     {block + "attention.qkv.weight", {3 * c, c}},
                                     {block + "attention.qkv.bias", {3 * c}},
                                     {block + "attention.output.weight", {c, c}},
                                     {block + "attention.output.bias", {c}},
                                     {block + "mlp_norm.weight", {c}},
                                     {block + "mlp_norm.bias", {c}},
                                     {block + "mlp.up.weight", {4 * c, c}},
                                     {block + "mlp.up.bias", {4 * c}},
                                     {block + "mlp.down.weight", {c, 4 * c}},
                                     {block + "mlp.down.bias", {c}}});
  }
  expected.insert(expected.end(), {{"final_norm.weight", {c}}, {"final_norm.bias", {c}}});
  std::vector<std::pair<std::string, Shape>> found;
  for (const ParameterSpec& spec : parameters_of(small)) found.emplace_back(spec.name, spec.shape);
  EXPECT_EQ(found, expected);
}

TEST(ModelParameters, CountIsTheFormula) {
  for (const ModelConfig& config : {small, gpt2}) {
    const std::int64_t c = config.width;
    EXPECT_EQ(elements(parameters_of(config)),
              (config.vocabulary + config.positions) * c + config.layers * (12 * c * c + 13 * c) + 2 * c);
  }
  EXPECT_EQ(elements(parameters_of(gpt2)), 124439808) << "GPT-2 small, as published with tied embeddings";
}

TEST(ModelParameters, AreTheSameWhateverTheMesh) {
  const std::vector<ParameterSpec> one = parameters_of(small);
  for (const int tensor : {2, 3, 6})
    for (const int stages : {1, 2, 3}) {
      const std::vector<ParameterSpec> cut = parameters_of(small, {.tensor = tensor}, stages);
      ASSERT_EQ(cut.size(), one.size());
      for (std::size_t p = 0; p < one.size(); ++p) {
        EXPECT_EQ(cut[p].name, one[p].name);
        EXPECT_EQ(cut[p].shape, one[p].shape);
        EXPECT_EQ(cut[p].init, one[p].init);
        EXPECT_EQ(cut[p].deviation, one[p].deviation);
        EXPECT_EQ(cut[p].decay, one[p].decay);
      }
    }
}

TEST(ModelParameters, InitialWeightsAreGpt2s) {
  for (const ParameterSpec& spec : parameters_of(small)) {
    const bool residual = spec.name.ends_with("attention.output.weight") || spec.name.ends_with("mlp.down.weight");
    if (spec.shape.dimensions() == 2) {
      EXPECT_EQ(spec.init, Init::normal) << spec.name;
      EXPECT_DOUBLE_EQ(spec.deviation, residual ? 0.02 / std::sqrt(6.0) : 0.02) << spec.name;
    } else {
      EXPECT_EQ(spec.init, spec.name.ends_with("norm.weight") ? Init::ones : Init::zeros) << spec.name;
    }
  }
}

TEST(ModelParameters, DecayIsForEveryMatrixAndNothingElse) {
  for (const ParameterSpec& spec : parameters_of(small))
    EXPECT_EQ(spec.decay, spec.shape.dimensions() == 2) << spec.name;
}

TEST(ModelParameters, AreCutAsTheLayersNeedThem) {
  const std::vector<ParameterSpec> specs = parameters_of(small, {.tensor = 2});
  const auto local = [&](const std::string& name) { return local_shape(find(specs, name)); };
  EXPECT_EQ(local("blocks.1.attention.qkv.weight"), (Shape{36, 24}));
  EXPECT_EQ(local("blocks.1.attention.qkv.bias"), (Shape{36}));
  EXPECT_EQ(local("blocks.1.attention.output.weight"), (Shape{24, 12}));
  EXPECT_EQ(local("blocks.1.attention.output.bias"), (Shape{24}));
  EXPECT_EQ(local("blocks.1.mlp.up.weight"), (Shape{48, 24}));
  EXPECT_EQ(local("blocks.1.mlp.up.bias"), (Shape{48}));
  EXPECT_EQ(local("blocks.1.mlp.down.weight"), (Shape{24, 48}));
  EXPECT_EQ(local("blocks.1.mlp.down.bias"), (Shape{24}));
  EXPECT_EQ(local("embedding.token.weight"), (Shape{64, 24})) << "half of 128 padded rows";
  EXPECT_EQ(local("embedding.position.weight"), (Shape{32, 24}));
  EXPECT_EQ(local("final_norm.weight"), (Shape{24}));
}

TEST(ModelParameters, EveryRankHoldsItsHeadsOfQKAndV) {
  const std::vector<ParameterSpec> specs = parameters_of(small, {.tensor = 2});
  const std::vector<Box> boxes =
      local_boxes(find(specs, "blocks.0.attention.qkv.weight"), MeshPlace(Mesh({{"tensor", 2}}), 1));
  ASSERT_EQ(boxes.size(), 3U);
  for (std::size_t section = 0; section < 3; ++section) {
    EXPECT_EQ(boxes[section].offset[0], static_cast<std::int64_t>(24 * section + 12)) << "the second half of the heads";
    EXPECT_EQ(boxes[section].extent, (Shape{12, 24}));
  }
}

TEST(ModelParameters, CopiesUnderSequenceParallelismHavePartialGradients) {
  const auto is_copy = [](const ParameterSpec& spec) {
    return spec.name.find("norm.") != std::string::npos || spec.name == "embedding.position.weight";
  };
  for (const ParameterSpec& spec : parameters_of(small, {.tensor = 2, .sequence_parallel = true}))
    EXPECT_EQ(spec.sums.inside, is_copy(spec) ? AxisSet{Axis::tensor} : AxisSet{}) << spec.name;
  for (const ModelCut& cut : {ModelCut{.tensor = 2, .sequence_parallel = false}, ModelCut{.tensor = 1}})
    for (const ParameterSpec& spec : parameters_of(small, cut)) EXPECT_TRUE(spec.sums.inside.empty()) << spec.name;
}

TEST(ModelParameters, BelongToTheStagesThatUseThem) {
  const std::vector<ParameterSpec> specs = parameters_of(small, {}, 3);
  EXPECT_EQ(find(specs, "embedding.token.weight").stages, (std::vector<int>{0, 2}));
  EXPECT_EQ(find(specs, "embedding.position.weight").stages, (std::vector<int>{0}));
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(find(specs, "blocks." + std::to_string(i) + ".mlp.up.weight").stages, (std::vector<int>{i}));
  EXPECT_EQ(find(specs, "final_norm.bias").stages, (std::vector<int>{2}));
  EXPECT_EQ(find(parameters_of(small), "embedding.token.weight").stages, (std::vector<int>{0, 0}))
      << "two uses on one stage";
}

TEST(ModelParameters, OnlyMatricesAndTheTokenTableAreComputedInTheChosenType) {
  for (const ParameterSpec& spec : parameters_of(small, {.compute = DType::bfloat16})) {
    const bool in_products = spec.shape.dimensions() == 2 && spec.name != "embedding.position.weight";
    EXPECT_EQ(spec.type, in_products ? DType::bfloat16 : DType::float32) << spec.name;
  }
}

// Where the head is another matrix, no layout makes an exception for the table: adding a row needs float32.
TEST(ModelParameters, ATokenTableThatIsNotTheHeadKeepsItsGradientInFloat32) {
  ModelConfig untied = small;
  untied.family = "llama";
  const auto specs = parameters_of(untied, {.compute = DType::bfloat16, .gradient = DType::bfloat16});
  EXPECT_EQ(find(specs, "embedding.token.weight").gradient_type, DType::float32);
  EXPECT_EQ(find(specs, "head.weight").gradient_type, DType::bfloat16);
  EXPECT_EQ(find(specs, "blocks.0.mlp.up.weight").gradient_type, DType::bfloat16);
}

}  // namespace
}  // namespace penstock::model_parameters_test
