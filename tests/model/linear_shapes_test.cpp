// SPDX-License-Identifier: Apache-2.0
#include "model/linear_shapes.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace penstock::linear_shapes_test {
namespace {

// 3 samples of 10 tokens, 16 channels, 4 heads, 300 tokens in the vocabulary (384 with padding).
ModelShape shape_on(int tensor, DType compute) {
  static const ModelDescription model =
      describe_model({.layers = 2, .width = 16, .heads = 4, .vocabulary = 300, .positions = 10});
  return {.model = &model,
          .cut = {.tensor = tensor, .sequence_parallel = true, .compute = compute},
          .tensor_coordinate = tensor - 1,
          .samples = 3,
          .sequence = 10};
}

constexpr DType f32 = DType::float32, bf16 = DType::bfloat16;

TEST(LinearShapes, AreThoseOfTheWholeModelOnOneRank) {
  const std::vector<ops::LinearShape> shapes =
      linear_shapes(shape_on(1, bf16), {.input_only = false, .accumulates = false});
  ASSERT_EQ(shapes.size(), 5);
  const ops::LinearShape qkv{.rows = 30,
                             .inputs = 16,
                             .outputs = 48,
                             .type = bf16,
                             .y = bf16,
                             .dx = bf16,
                             .dweight = f32,
                             .bias = true,
                             .bias_gradient = true,
                             .gelu = false,
                             .slope = false,
                             .accumulate = false};
  EXPECT_EQ(shapes[0], qkv);
  const ops::LinearShape output{.rows = 30,
                                .inputs = 16,
                                .outputs = 16,
                                .type = bf16,
                                .y = bf16,
                                .dx = bf16,
                                .dweight = f32,
                                .bias = false,
                                .bias_gradient = true,
                                .gelu = false,
                                .slope = false,
                                .accumulate = false};
  EXPECT_EQ(shapes[1], output);
  const ops::LinearShape up{.rows = 30,
                            .inputs = 16,
                            .outputs = 64,
                            .type = bf16,
                            .y = bf16,
                            .dx = bf16,
                            .dweight = f32,
                            .bias = true,
                            .bias_gradient = true,
                            .gelu = true,
                            .slope = false,
                            .accumulate = false};
  EXPECT_EQ(shapes[2], up);
  const ops::LinearShape down{.rows = 30,
                              .inputs = 64,
                              .outputs = 16,
                              .type = bf16,
                              .y = bf16,
                              .dx = bf16,
                              .dweight = f32,
                              .bias = false,
                              .bias_gradient = true,
                              .gelu = false,
                              .slope = true,
                              .accumulate = false};
  EXPECT_EQ(shapes[3], down);
  const ops::LinearShape logits{.rows = 30,
                                .inputs = 16,
                                .outputs = 384,
                                .type = bf16,
                                .y = bf16,
                                .dx = bf16,
                                .dweight = f32,
                                .bias = false,
                                .bias_gradient = false,
                                .gelu = false,
                                .slope = false,
                                .accumulate = false};
  EXPECT_EQ(shapes[4], logits);
}

TEST(LinearShapes, AreCutAlongTheTensorAxisWithPartialSumsInFloat32) {
  const std::vector<ops::LinearShape> shapes =
      linear_shapes(shape_on(2, bf16), {.input_only = false, .accumulates = false});
  ASSERT_EQ(shapes.size(), 5);
  for (const ops::LinearShape& shape : shapes) {
    EXPECT_EQ(shape.rows, 30) << "products work on all tokens, whoever keeps their rows";
    EXPECT_EQ(shape.type, bf16);
  }
  const auto sizes = [&](std::size_t i) { return std::pair(shapes[i].inputs, shapes[i].outputs); };
  EXPECT_EQ(sizes(0), std::pair(std::int64_t{16}, std::int64_t{24}));
  EXPECT_EQ(sizes(1), std::pair(std::int64_t{8}, std::int64_t{16}));
  EXPECT_EQ(sizes(2), std::pair(std::int64_t{16}, std::int64_t{32}));
  EXPECT_EQ(sizes(3), std::pair(std::int64_t{32}, std::int64_t{16}));
  EXPECT_EQ(sizes(4), std::pair(std::int64_t{16}, std::int64_t{192}));
  // Row-parallel products are summed over ranks on their way forward, column-parallel ones on their way back.
  const auto types = [&](std::size_t i) { return std::pair(shapes[i].y, shapes[i].dx); };
  EXPECT_EQ(types(0), std::pair(bf16, f32));
  EXPECT_EQ(types(1), std::pair(f32, bf16));
  EXPECT_EQ(types(2), std::pair(bf16, f32));
  EXPECT_EQ(types(3), std::pair(f32, bf16));
  EXPECT_EQ(types(4), std::pair(bf16, f32));
}

TEST(LinearShapes, LeaveTheLogitsToTheHead) {
  EXPECT_EQ(linear_shapes(shape_on(1, f32), {.head = false, .input_only = false, .accumulates = false}).size(), 4);
}

TEST(LinearShapes, TakeTheSlopeInPlaceWhereTheBackwardIsSplit) {
  const auto in_place = [](const RankDuties& duties) {
    std::vector<bool> places;
    for (const ops::LinearShape& shape : linear_shapes(shape_on(1, bf16), duties))
      if (shape.slope) places.push_back(shape.slope_in_place);
    return places;
  };
  EXPECT_EQ(in_place({.input_only = false, .accumulates = false}), std::vector{false});
  EXPECT_EQ(in_place({.fused = false, .accumulates = false}), std::vector{true});
  EXPECT_EQ(in_place({.accumulates = false}), (std::vector{false, true}));
}

TEST(LinearShapes, AccumulateOnlyBehindTheFirstMicrobatch) {
  const auto accumulating = [](bool accumulates) {
    const std::vector<ops::LinearShape> shapes = linear_shapes(shape_on(1, bf16), {.accumulates = accumulates});
    return std::pair(std::count_if(shapes.begin(), shapes.end(), [](const auto& shape) { return shape.accumulate; }),
                     std::count_if(shapes.begin(), shapes.end(), [](const auto& shape) { return !shape.accumulate; }));
  };
  EXPECT_EQ(accumulating(false), std::pair(std::ptrdiff_t{0}, std::ptrdiff_t{6}));
  EXPECT_EQ(accumulating(true), std::pair(std::ptrdiff_t{6}, std::ptrdiff_t{6}));
}

TEST(LinearShapes, WriteGradientsInTheirType) {
  ModelShape shape = shape_on(1, bf16);
  shape.cut.gradient = bf16;
  for (const ops::LinearShape& linear : linear_shapes(shape, {.accumulates = false})) EXPECT_EQ(linear.dweight, bf16);
}

}  // namespace
}  // namespace penstock::linear_shapes_test
