// SPDX-License-Identifier: Apache-2.0
#include "parameter/box.hpp"

#include <gtest/gtest.h>

namespace penstock::box_test {
namespace {

// The place of every element of a block in the global array, in the order of the block's memory: [row, column].
using Place = std::array<std::int64_t, 2>;

std::vector<Place> places_of(const Box& box) {
  std::vector<Place> places;
  const bool matrix = box.extent.dimensions() == 2;
  const std::int64_t rows = matrix ? box.extent[0] : 1, columns = matrix ? box.extent[1] : box.extent[0];
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      places.push_back(matrix ? Place{box.offset[0] + r, box.offset[1] + c} : Place{box.offset[0] + c, 0});
  return places;
}

void expect_every_range_right(const Box& whole) {
  const std::vector<Place> all = places_of(whole);
  const std::int64_t elements = whole.elements();
  for (std::int64_t begin = 0; begin <= elements; ++begin)
    for (std::int64_t end = begin; end <= elements; ++end) {
      SCOPED_TRACE(fmt::format("{} elements [{}, {})", whole.extent.text(), begin, end));
      const std::vector<Box> boxes = boxes_of_range(whole, begin, end);
      ASSERT_LE(boxes.size(), 3U);
      std::vector<Place> found;
      for (const Box& box : boxes) {
        ASSERT_EQ(box.extent.dimensions(), whole.extent.dimensions());
        ASSERT_GT(box.elements(), 0);
        ASSERT_EQ(box.local_begin, static_cast<std::int64_t>(found.size())) << "boxes follow each other in memory";
        for (const Place& place : places_of(box)) found.push_back(place);
      }
      ASSERT_EQ(found, std::vector<Place>(all.begin() + begin, all.begin() + end));
    }
}

TEST(Box, EveryRangeOfAMatrixIsTheElementsInItsMemoryOrder) {
  for (const auto& [rows, columns] :
       std::vector<std::array<std::int64_t, 2>>{{1, 1}, {1, 7}, {7, 1}, {2, 5}, {5, 4}, {6, 6}}) {
    expect_every_range_right({.offset = {0, 0}, .extent = {rows, columns}});
    expect_every_range_right({.offset = {10, 0}, .extent = {rows, columns}});
    expect_every_range_right({.offset = {3, 20}, .extent = {rows, columns}});
  }
}

TEST(Box, EveryRangeOfAVectorIsOneBox) {
  expect_every_range_right({.offset = {0}, .extent = {1}});
  expect_every_range_right({.offset = {5}, .extent = {13}});
  EXPECT_EQ(boxes_of_range({.offset = {5}, .extent = {13}}, 2, 11).size(), 1U);
}

TEST(Box, WholeRowsAreOneBoxAndARaggedRangeIsThree) {
  const Box whole{.offset = {0, 0}, .extent = {4, 10}};
  EXPECT_EQ(boxes_of_range(whole, 10, 40).size(), 1U);
  EXPECT_EQ(boxes_of_range(whole, 5, 40).size(), 2U);
  EXPECT_EQ(boxes_of_range(whole, 5, 35).size(), 3U);
  EXPECT_EQ(boxes_of_range(whole, 11, 19).size(), 1U);
}

TEST(Box, ARangeBeyondTheBlockIsCutToIt) {
  const Box whole{.offset = {2, 3}, .extent = {4, 5}};
  EXPECT_EQ(boxes_of_range(whole, -7, 1000), boxes_of_range(whole, 0, 20));
  EXPECT_TRUE(boxes_of_range(whole, 20, 30).empty());
  EXPECT_TRUE(boxes_of_range(whole, -9, 0).empty());
  EXPECT_TRUE(boxes_of_range(whole, 8, 8).empty());
  EXPECT_TRUE(boxes_of_range(whole, 9, 3).empty());
}

TEST(Box, MoreThanTwoDimensionsAreRefused) {
  EXPECT_THROW(boxes_of_range({.offset = {}, .extent = {2, 2, 2}}, 0, 8), LogicError);
}

TEST(RowBlocks, CoverABoxWithWholeRows) {
  const Box whole{{5, 3}, {7, 4}, 100};
  const std::vector<Box> blocks = row_blocks(whole, 11);  // two rows of four
  ASSERT_EQ(blocks.size(), 4U);
  EXPECT_EQ(blocks[1], (Box{{7, 3}, {2, 4}, 8}));
  EXPECT_EQ(blocks[3], (Box{{11, 3}, {1, 4}, 24}));
  EXPECT_EQ(row_blocks(whole, 1).size(), 7U) << "a row at least";
  const std::vector<Box> vector = row_blocks({{2}, {5}, 0}, 3);
  ASSERT_EQ(vector.size(), 2U);
  EXPECT_EQ(vector[1], (Box{{5}, {2}, 3}));
}

}  // namespace
}  // namespace penstock::box_test
