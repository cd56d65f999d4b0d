// SPDX-License-Identifier: Apache-2.0
#include "model/model_shape.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace penstock::model_shape_test {
namespace {

const ModelConfig gpt2{.layers = 12, .width = 768, .heads = 12, .vocabulary = 50257, .positions = 1024};

ModelShape shape_at(int tensor, int coordinate, bool sequence_parallel, const ModelConfig& config = gpt2) {
  static std::vector<std::unique_ptr<const ModelDescription>> described;  // outlive the shapes
  described.push_back(std::make_unique<const ModelDescription>(describe_model(config)));
  return {.model = described.back().get(),
          .cut = {.tensor = tensor, .sequence_parallel = sequence_parallel},
          .tensor_coordinate = coordinate,
          .samples = 4,
          .sequence = 512};
}

void expect_channels(const ModelShape& shape, std::int64_t heads, std::int64_t of_heads, std::int64_t hidden) {
  const BranchDescription &attention = shape.branches()[0], &mlp = shape.branches()[1];
  EXPECT_EQ(shape.heads(*attention.attention()), heads);
  EXPECT_EQ(shape.core_channels(attention), of_heads);
  EXPECT_EQ(shape.inner_channels(attention), 3 * of_heads);
  EXPECT_EQ(shape.core_channels(mlp), hidden);
  EXPECT_EQ(shape.inner_channels(mlp), hidden);
}

TEST(ModelShape, OnOneRankIsTheWholeModel) {
  const ModelShape shape = shape_at(1, 0, true);
  EXPECT_EQ(shape.tokens(), 2048);
  EXPECT_EQ(shape.rows(), 2048);
  EXPECT_FALSE(shape.cut_rows()) << "one rank has nobody to cut with";
  EXPECT_EQ(shape.first_row(), 0);
  expect_channels(shape, 12, 768, 3072);
  EXPECT_EQ(shape.padded_vocabulary(), 50304);
  EXPECT_EQ(shape.vocabulary_rows(), 50304);
  EXPECT_EQ(shape.vocabulary_columns(), 50257);
  EXPECT_EQ(shape.partial(), DType::float32);
}

TEST(ModelShape, IsCutAlongTheTensorAxis) {
  const ModelShape shape = shape_at(4, 3, true);
  EXPECT_EQ(shape.rows(), 512);
  EXPECT_EQ(shape.first_row(), 1536);
  expect_channels(shape, 3, 192, 768);
  EXPECT_EQ(shape.vocabulary_rows(), 12576);
  EXPECT_EQ(shape.first_token(), 37728);
  EXPECT_EQ(shape.vocabulary_columns(), 50257 - 37728);
}

TEST(ModelShape, WithoutSequenceParallelismRowsAreWhole) {
  const ModelShape shape = shape_at(4, 3, false);
  EXPECT_FALSE(shape.cut_rows());
  EXPECT_EQ(shape.rows(), shape.tokens());
  EXPECT_EQ(shape.first_row(), 0);
  expect_channels(shape, 3, 192, 768);  // heads are cut all the same
}

TEST(ModelShape, VocabularyIsDealtOnceWhateverTheMesh) {
  for (const std::int64_t vocabulary : {2, 65, 127, 128, 129, 256, 300, 50257})
    for (const int tensor : {1, 2, 3, 4, 5, 7, 8, 12}) {
      ModelConfig config = gpt2;
      config.vocabulary = vocabulary;
      std::int64_t next = 0;
      for (int coordinate = 0; coordinate < tensor; ++coordinate) {
        const ModelShape shape = shape_at(tensor, coordinate, true, config);
        if (shape.vocabulary_columns() > 0) {
          ASSERT_EQ(shape.first_token(), next) << vocabulary << " tokens over " << tensor;
        }
        ASSERT_LE(shape.vocabulary_columns(), shape.vocabulary_rows());
        ASSERT_EQ(shape.padded_vocabulary(), (vocabulary + 127) / 128 * 128) << "padding does not depend on the mesh";
        next += shape.vocabulary_columns();
      }
      ASSERT_EQ(next, vocabulary) << "over " << tensor;
    }
}

TEST(ModelShape, PartialSumsAreFloat32OnlyWhereTheyAreAdded) {
  ModelShape shape = shape_at(1, 0, true);
  shape.cut.compute = DType::bfloat16;
  EXPECT_EQ(shape.partial(), DType::bfloat16);
  shape.cut.tensor = 2;
  EXPECT_EQ(shape.partial(), DType::float32);
}

}  // namespace
}  // namespace penstock::model_shape_test
