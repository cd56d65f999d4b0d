// SPDX-License-Identifier: Apache-2.0
#include "parameter/parameter_spec.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace penstock::parameter_spec_test {
namespace {

ParameterSpec matrix(std::int64_t rows, std::int64_t columns, Split split) {
  return {.name = "weight",
          .shape = {rows, columns},
          .split = split,
          .init = Init::normal,
          .deviation = 0.02,
          .stages = {0}};
}

Box box(std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns, std::int64_t local_begin = 0) {
  return {.offset = {row, column}, .extent = {rows, columns}, .local_begin = local_begin};
}

MeshPlace tensor_rank(int coordinate) { return {Mesh({{"tensor", 4}}), coordinate}; }

TEST(ParameterSpec, ACopyIsTheWholeOnEveryRank) {
  const ParameterSpec spec = matrix(6, 4, {});
  EXPECT_EQ(local_shape(spec), (Shape{6, 4}));
  for (int coordinate = 0; coordinate < 3; ++coordinate)
    EXPECT_EQ(local_boxes(spec, tensor_rank(coordinate)), std::vector<Box>{box(0, 0, 6, 4)});
}

TEST(ParameterSpec, RowsAndColumnsAreCutInEqualParts) {
  const ParameterSpec rows = matrix(8, 6, {.dimension = 0, .parts = 2});
  EXPECT_EQ(local_shape(rows), (Shape{4, 6}));
  EXPECT_EQ(local_boxes(rows, tensor_rank(1)), std::vector<Box>{box(4, 0, 4, 6)});
  const ParameterSpec columns = matrix(8, 6, {.dimension = 1, .parts = 3});
  EXPECT_EQ(local_shape(columns), (Shape{8, 2}));
  EXPECT_EQ(local_boxes(columns, tensor_rank(2)), std::vector<Box>{box(0, 4, 8, 2)});
}

TEST(ParameterSpec, SectionsAreCutEachByItself) {
  // q, k and v of 8 rows each on two ranks: four rows of each, one after the other.
  const std::vector<Section> thirds{{8}, {8}, {8}};
  const ParameterSpec spec = matrix(24, 5, {.dimension = 0, .parts = 2, .sections = thirds});
  EXPECT_EQ(local_shape(spec), (Shape{12, 5}));
  EXPECT_EQ(local_boxes(spec, tensor_rank(1)),
            (std::vector<Box>{box(4, 0, 4, 5, 0), box(12, 0, 4, 5, 20), box(20, 0, 4, 5, 40)}));
  const ParameterSpec bias{.name = "bias", .shape = {24}, .split = {.parts = 2, .sections = thirds}, .stages = {0}};
  EXPECT_EQ(local_shape(bias), (Shape{12}));
  ASSERT_EQ(local_boxes(bias, tensor_rank(0)).size(), 3U);
  EXPECT_EQ(local_boxes(bias, tensor_rank(0))[2], (Box{.offset = {16}, .extent = {4}, .local_begin = 8}));
}

TEST(ParameterSpec, SectionsOfAnySizeMayBeCopied) {
  // Eight query heads, and two of keys and of values, two rows each, on four ranks: two neighbours share a key head.
  const ParameterSpec spec = matrix(24, 5, {.dimension = 0, .parts = 4, .sections = {{16}, {4, 2}, {4, 2}}});
  EXPECT_EQ(local_shape(spec), (Shape{8, 5}));
  EXPECT_EQ(local_boxes(spec, tensor_rank(0)),
            (std::vector<Box>{box(0, 0, 4, 5, 0), box(16, 0, 2, 5, 20), box(20, 0, 2, 5, 30)}));
  EXPECT_EQ(local_boxes(spec, tensor_rank(1)),
            (std::vector<Box>{box(4, 0, 4, 5, 0), box(16, 0, 2, 5, 20), box(20, 0, 2, 5, 30)}));
  EXPECT_EQ(local_boxes(spec, tensor_rank(3)),
            (std::vector<Box>{box(12, 0, 4, 5, 0), box(18, 0, 2, 5, 20), box(22, 0, 2, 5, 30)}));
  for (const int coordinate : {0, 1, 2, 3}) {
    const std::vector<LocalBox> held = sections_held(spec, tensor_rank(coordinate));
    ASSERT_EQ(held.size(), 3U);
    EXPECT_EQ(held[0].copies, 1);
    EXPECT_TRUE(held[0].first);
    EXPECT_EQ(held[1].copies, 2);
    EXPECT_EQ(held[2].first, coordinate % 2 == 0);
  }
}

TEST(ParameterSpec, PaddingIsInMemoryOnly) {
  // A vocabulary of 130 in an arena of 256: the second rank holds the last two rows and 126 of padding.
  const ParameterSpec spec = matrix(130, 4, {.dimension = 0, .parts = 2, .padded_extent = 256});
  EXPECT_EQ(local_shape(spec), (Shape{128, 4}));
  EXPECT_EQ(local_boxes(spec, tensor_rank(0)), std::vector<Box>{box(0, 0, 128, 4)});
  EXPECT_EQ(local_boxes(spec, tensor_rank(1)), std::vector<Box>{box(128, 0, 2, 4)});
  const ParameterSpec narrow = matrix(100, 4, {.dimension = 0, .parts = 2, .padded_extent = 256});
  EXPECT_TRUE(local_boxes(narrow, tensor_rank(1)).empty());
}

// Four experts of [6, 4], two on each of two expert ranks, where two tensor ranks cut their rows.
TEST(ParameterSpec, AStackIsSharedOutWholeAndEachArrayCutByItself) {
  const Mesh mesh({{"expert", 2}, {"tensor", 2}});
  ParameterSpec spec = matrix(24, 4, {.dimension = 0, .parts = 2});
  spec.stack = {.arrays = 4, .parts = 2, .axis = "expert"};
  EXPECT_EQ(local_shape(spec), (Shape{6, 4}));
  EXPECT_EQ(local_boxes(spec, {mesh, 0}), (std::vector<Box>{box(0, 0, 3, 4, 0), box(6, 0, 3, 4, 12)}));
  EXPECT_EQ(local_boxes(spec, {mesh, 1}), (std::vector<Box>{box(3, 0, 3, 4, 0), box(9, 0, 3, 4, 12)}));
  EXPECT_EQ(local_boxes(spec, {mesh, 3}), (std::vector<Box>{box(15, 0, 3, 4, 0), box(21, 0, 3, 4, 12)}));
  spec.split.dimension = 1;
  EXPECT_EQ(local_shape(spec), (Shape{12, 2}));
  EXPECT_EQ(local_boxes(spec, {mesh, 3}), (std::vector<Box>{box(12, 2, 6, 2, 0), box(18, 2, 6, 2, 12)}));
  spec.split.parts = 1;
  EXPECT_EQ(local_boxes(spec, {mesh, 2}), local_boxes(spec, {mesh, 3})) << "tensor ranks hold copies";
  spec.stack.parts = 1;
  EXPECT_EQ(local_shape(spec), (Shape{24, 4}));
  EXPECT_EQ(local_boxes(spec, {mesh, 0}), local_boxes(spec, {mesh, 3})) << "all experts on every rank";
}

TEST(ParameterSpec, CutsThatCannotBeHeldAreRefused) {
  ParameterSpec stacked = matrix(10, 4, {});
  stacked.stack = {.arrays = 4, .parts = 2, .axis = "tensor"};
  EXPECT_THROW(local_boxes(stacked, tensor_rank(0)), LogicError) << "ten rows are not four arrays";
  stacked.stack = {.arrays = 5, .parts = 2, .axis = "tensor"};
  EXPECT_THROW(local_boxes(stacked, tensor_rank(0)), LogicError) << "two ranks cannot share five arrays evenly";
  EXPECT_THROW(local_boxes(matrix(8, 4, {.parts = 2}), tensor_rank(3)), LogicError) << "four ranks, two parts";

  EXPECT_THROW(local_boxes(matrix(4, 6, {.dimension = 1, .parts = 2, .sections = {{3}, {3}}}), tensor_rank(0)),
               LogicError);
  EXPECT_THROW(local_boxes(matrix(4, 7, {.dimension = 1, .parts = 2}), tensor_rank(0)), LogicError)
      << "its columns are not dense";
  EXPECT_THROW(local_boxes(matrix(4, 6, {.dimension = 1, .parts = 2, .padded_extent = 8}), tensor_rank(0)), LogicError);
  EXPECT_THROW(local_boxes(matrix(10, 4, {.dimension = 0, .parts = 1, .sections = {{3}, {3}}}), tensor_rank(0)),
               LogicError)
      << "two sections that leave four rows out";
  EXPECT_THROW(local_boxes(matrix(8, 4, {.dimension = 0, .parts = 3, .sections = {{4}, {4, 2}}}), tensor_rank(0)),
               LogicError)
      << "three ranks cannot share two parts evenly";
  EXPECT_THROW(local_boxes(matrix(130, 4, {.dimension = 0, .parts = 1, .padded_extent = 128}), tensor_rank(0)),
               LogicError);
}

TEST(ParameterSpec, InitialWeightsOfABoxAreThoseOfTheWhole) {
  const ParameterSpec spec = matrix(9, 7, {});
  std::vector<float> whole(63);
  fill_initial(spec, 5, box(0, 0, 9, 7), whole.data());
  const Box part = box(2, 3, 5, 4);
  std::vector<float> values(20);
  fill_initial(spec, 5, part, values.data());
  for (std::int64_t r = 0; r < 5; ++r)
    for (std::int64_t c = 0; c < 4; ++c)
      EXPECT_EQ(values[static_cast<std::size_t>(r * 4 + c)], whole[static_cast<std::size_t>((2 + r) * 7 + 3 + c)]);
}

std::vector<float> filled(const ParameterSpec& spec, const Box& part, int threads) {
  std::vector<float> values(static_cast<std::size_t>(part.elements()), -7.0F);
  fill_initial(spec, 5, part, values.data(), threads);
  return values;
}

TEST(ParameterSpec, ThreadsDoNotChangeABitOfTheInitialWeights) {
  const ParameterSpec weight = matrix(101, 67, {});
  // A whole, a part of its columns, many short rows, one long row, and less than there are threads.
  for (const Box& part :
       {box(0, 0, 101, 67), box(3, 5, 90, 33), box(1, 66, 100, 1), box(100, 2, 1, 65), box(7, 7, 1, 2)})
    for (const int threads : {2, 3, 4}) EXPECT_EQ(filled(weight, part, threads), filled(weight, part, 1)) << threads;
  for (const Init init : {Init::normal, Init::zeros, Init::ones}) {
    const ParameterSpec bias{.name = "bias", .shape = {1003}, .init = init, .deviation = 0.5, .stages = {0}};
    const Box part{.offset = {11}, .extent = {990}};
    EXPECT_EQ(filled(bias, part, 4), filled(bias, part, 1));
  }
}

TEST(ParameterSpec, InitialWeightsHangOnSeedAndName) {
  ParameterSpec spec = matrix(4, 4, {}), renamed = spec;
  renamed.name = "another weight";
  std::vector<float> first(16), again(16), other_seed(16), other_name(16);
  const Box all = box(0, 0, 4, 4);
  fill_initial(spec, 1, all, first.data());
  fill_initial(spec, 1, all, again.data());
  fill_initial(spec, 2, all, other_seed.data());
  fill_initial(renamed, 1, all, other_name.data());
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other_seed);
  EXPECT_NE(first, other_name);
}

TEST(ParameterSpec, ZerosAndOnes) {
  ParameterSpec spec{.name = "norm", .shape = {5}, .init = Init::ones, .stages = {0}};
  std::vector<float> values(5, 7.0F);
  fill_initial(spec, 1, {.offset = {0}, .extent = {5}}, values.data());
  EXPECT_EQ(values, std::vector<float>(5, 1.0F));
  spec.init = Init::zeros;
  fill_initial(spec, 1, {.offset = {0}, .extent = {5}}, values.data());
  EXPECT_EQ(values, std::vector<float>(5, 0.0F));
}

TEST(ParameterSpec, NormalWeightsHaveTheirDeviation) {
  constexpr std::int64_t rows = 512, columns = 512;
  constexpr double n = rows * columns, deviation = 0.02;
  const ParameterSpec spec = matrix(rows, columns, {});
  std::vector<float> values(static_cast<std::size_t>(n));
  fill_initial(spec, 11, box(0, 0, rows, columns), values.data());
  double sum = 0, squares = 0;
  float largest = 0;
  std::int64_t within = 0;
  for (const float x : values) {
    sum += x;
    squares += static_cast<double>(x) * x;
    within += std::abs(x) < deviation;
    largest = std::max(largest, std::abs(x));
  }
  // Five standard deviations of each estimate from n independent numbers; the seed is fixed.
  EXPECT_NEAR(sum / n, 0, 5 * deviation / std::sqrt(n));
  EXPECT_NEAR(squares / n, deviation * deviation, 5 * deviation * deviation * std::sqrt(2 / n));
  EXPECT_NEAR(static_cast<double>(within) / n, 0.682689, 5 * std::sqrt(0.6827 * 0.3173 / n));
  // Of 2^18 normal numbers the largest is beyond 4 deviations (all below: 6e-8) and below 7 (one beyond: 7e-7).
  EXPECT_GT(largest, 4 * deviation);
  EXPECT_LT(largest, 7 * deviation);
}

}  // namespace
}  // namespace penstock::parameter_spec_test
