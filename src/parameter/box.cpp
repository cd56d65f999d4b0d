// SPDX-License-Identifier: Apache-2.0
#include "parameter/box.hpp"

#include <algorithm>

namespace penstock {

std::vector<Box> boxes_of_range(const Box& whole, std::int64_t begin, std::int64_t end) {
  begin = std::max<std::int64_t>(begin, 0);
  end = std::min(end, whole.elements());
  std::vector<Box> boxes;
  if (begin >= end) return boxes;
  const bool matrix = whole.extent.dimensions() == 2;
  ensure(matrix || whole.extent.dimensions() == 1, "boxes_of_range: one or two dimensions");
  const std::int64_t width = matrix ? whole.extent[1] : whole.elements();
  const std::int64_t origin = begin;

  const auto add = [&](std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns) {
    if (rows <= 0 || columns <= 0) return;
    Box box;
    box.offset = whole.offset;
    box.local_begin = row * width + column - origin;
    if (matrix) {
      box.offset[0] += row;
      box.offset[1] += column;
      box.extent = {rows, columns};
    } else {
      box.offset[0] += column;
      box.extent = {columns};
    }
    boxes.push_back(box);
  };

  const std::int64_t first_row = begin / width, last_row = (end - 1) / width;
  const std::int64_t first_column = begin % width, end_column = end - last_row * width;
  if (first_row == last_row) {
    add(first_row, first_column, 1, end_column - first_column);
    return boxes;
  }
  const bool head = first_column != 0, tail = end_column != width;
  if (head) add(first_row, first_column, 1, width - first_column);
  const std::int64_t full_begin = first_row + (head ? 1 : 0), full_end = last_row + (tail ? 0 : 1);
  add(full_begin, 0, full_end - full_begin, width);
  if (tail) add(last_row, 0, 1, end_column);
  return boxes;
}

std::vector<Box> row_blocks(const Box& whole, std::int64_t elements) {
  ensure(elements >= 1, "row_blocks: a block has elements");
  const std::int64_t width = whole.extent.dimensions() == 2 ? whole.extent[1] : 1, all = whole.elements();
  const std::int64_t block = width > 0 ? std::max<std::int64_t>(1, elements / width) * width : 1;
  std::vector<Box> blocks;
  for (std::int64_t begin = 0; begin < all; begin += block)
    for (Box& box : boxes_of_range(whole, begin, begin + block)) {
      box.local_begin += begin;
      blocks.push_back(box);
    }
  return blocks;
}

}  // namespace penstock
