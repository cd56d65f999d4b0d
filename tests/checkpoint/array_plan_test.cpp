// SPDX-License-Identifier: Apache-2.0
// The cuts of an array file: chunks, rounds, and who writes.

#include "checkpoint/array_plan.hpp"

#include <gtest/gtest.h>

#include "checkpoint/writers.hpp"

namespace penstock::array_plan_test {
namespace {

ArraySpec whole(std::string path, const Shape& shape, DType type = DType::float32) {
  return {std::move(path), shape, type, {}, {{0, Box{{}, shape, 0}}}};
}

TEST(ArrayPlanTest, ChunksAreWholeRowsOfAboutAMebibyte) {
  EXPECT_EQ(chunk_shape({100, 10}, DType::float32), Shape({100, 10}));
  EXPECT_EQ(chunk_shape({50257, 768}, DType::float32), Shape({340, 768}));
  EXPECT_EQ(chunk_shape({1000000}, DType::float32), Shape({250000}));
  EXPECT_EQ(chunk_shape({4, 1024, 50304}, DType::float32), Shape({1, 5, 50304}));
  EXPECT_EQ(chunk_shape({3, 600000}, DType::int32), Shape({1, 200000}));
}

TEST(ArrayPlanTest, LittleOfTheLastChunkIsEmpty) {
  EXPECT_EQ(chunk_shape({576, 576}, DType::float32), Shape({288, 576}));
  EXPECT_EQ(chunk_shape({1536, 576}, DType::float32), Shape({384, 576}));
  EXPECT_EQ(chunk_shape({5, 90000}, DType::float32), Shape({1, 90000}));  // not 2, of which the last would hold 1
  EXPECT_EQ(chunk_shape({13, 21000}, DType::float32), Shape({1, 21000}));
  for (const std::int64_t rows : {257, 576, 769, 1009, 1536, 4099, 50257})
    for (const std::int64_t columns : {64, 576, 768, 1600, 4096, 14336}) {
      const ArraySpec array = whole("/a", {rows, columns});
      const auto bytes = static_cast<std::uint64_t>(rows * columns) * 4;
      EXPECT_LE(stored_bytes(array) - bytes, bytes / 50) << array.shape.text();
      const auto chunk = static_cast<std::uint64_t>(chunk_shape(array.shape, array.type).elements()) * 4;
      EXPECT_GE(chunk, std::min<std::uint64_t>(bytes, 64 << 10));
      EXPECT_LE(chunk, 1U << 20);
    }
}

TEST(ArrayPlanTest, RoundsTakeEveryRowOnceInWholeChunks) {
  const std::vector<ArraySpec> arrays{whole("/a", {5}), whole("/b", {3000, 257}), whole("/c", {7, 400000}),
                                      whole("/d", {64, 64}), whole("/e", {2, 3, 4}, DType::int32)};
  for (const int writers : {1, 2, 3, 7})
    for (const std::size_t round_bytes : {std::size_t{1}, std::size_t{3} << 20, std::size_t{1} << 30}) {
      std::vector<std::vector<int>> taken;
      for (const ArraySpec& array : arrays) taken.emplace_back(static_cast<std::size_t>(array.shape[0]));
      for (const Round& round : plan_rounds(arrays, writers, round_bytes)) {
        std::vector<std::size_t> used(static_cast<std::size_t>(writers));
        std::uint64_t all = 0;
        for (const WriteStep& step : round.steps) {
          const ArraySpec& array = arrays[step.array];
          const auto row_bytes = static_cast<std::size_t>(array.shape.elements() / array.shape[0]) * 4;
          const std::int64_t chunk_rows = chunk_shape(array.shape, array.type)[0];
          ASSERT_EQ(step.of_writer.size(), used.size());
          for (std::size_t w = 0; w < used.size(); ++w) {
            const Rows& rows = step.of_writer[w];
            if (rows.empty()) continue;
            EXPECT_EQ(rows.offset, used[w]);
            EXPECT_EQ(rows.begin % chunk_rows, 0);
            EXPECT_TRUE(rows.end % chunk_rows == 0 || rows.end == array.shape[0]);
            for (std::int64_t row = rows.begin; row < rows.end; ++row)
              ++taken[step.array][static_cast<std::size_t>(row)];
            used[w] += static_cast<std::size_t>(rows.end - rows.begin) * row_bytes;
          }
        }
        EXPECT_EQ(used, round.bytes);
        for (const std::size_t bytes : used) all += bytes;
        EXPECT_EQ(all, round.all_bytes);
        EXPECT_GT(all, 0U);
      }
      for (const auto& rows : taken)
        for (const int times : rows) ASSERT_EQ(times, 1) << writers << " writers, rounds of " << round_bytes;
    }
}

TEST(ArrayPlanTest, PiecesMustCoverTheArray) {
  ArraySpec array = whole("/a", {4, 4});
  array.pieces[0].box.extent = {3, 4};
  EXPECT_THROW(plan_rounds({array}, 1, 1000), LogicError);
}

TEST(ArrayPlanTest, PartOfABoxBeginsWhereItsRowsBegin) {
  Box box{{10, 3}, {20, 5}, 777};
  const Box part = part_in_rows(box, {15, 40, 0});
  EXPECT_EQ(part.offset[0], 15);
  EXPECT_EQ(part.offset[1], 3);
  EXPECT_EQ(part.extent, Shape({15, 5}));
  EXPECT_EQ(part.local_begin, 25);
  EXPECT_EQ(part_in_rows(box, {0, 10, 0}).elements(), 0);
  EXPECT_EQ(part_in_rows(box, {30, 40, 0}).elements(), 0);
}

TEST(WritersTest, AreSpreadOverTheNodes) {
  const std::vector<int> nodes{0, 0, 0, 1, 1, 2};
  EXPECT_EQ(choose_writers(nodes, {}), (std::vector<int>{0, 3, 5}));
  EXPECT_EQ(choose_writers(nodes, {.count = 1}), (std::vector<int>{0}));
  EXPECT_EQ(choose_writers(nodes, {.count = 2}), (std::vector<int>{0, 3}));
  EXPECT_EQ(choose_writers({0, 1, 0, 1}, {.count = 2}), (std::vector<int>{0, 1}));  // ranks dealt out in turn
  EXPECT_THROW(choose_writers(nodes, {.count = 7}), InputError);
  EXPECT_THROW(choose_writers(nodes, {.count = -1}), InputError);
}

TEST(WritersTest, WithoutANumberEachHasAGibibyteToWrite) {
  const std::vector<int> nodes{0, 0, 1, 1, 2, 2, 3, 3};
  constexpr std::uint64_t gib = std::uint64_t{1} << 30;
  EXPECT_EQ(choose_writers(nodes, {.bytes = 5 << 20}), (std::vector<int>{0}));
  EXPECT_EQ(choose_writers(nodes, {.bytes = 2 * gib - 1}), (std::vector<int>{0}));
  EXPECT_EQ(choose_writers(nodes, {.bytes = 2 * gib}), (std::vector<int>{0, 4}));
  EXPECT_EQ(choose_writers(nodes, {.bytes = 100 * gib}), (std::vector<int>{0, 2, 4, 6}));
  EXPECT_EQ(choose_writers(nodes, {.count = 4, .bytes = 1}), (std::vector<int>{0, 2, 4, 6}));
}

}  // namespace
}  // namespace penstock::array_plan_test
