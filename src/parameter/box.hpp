// SPDX-License-Identifier: Apache-2.0
#pragma once
// Boxes: the part of a global array that a piece of memory holds.

#include <array>
#include <cstdint>
#include <vector>

#include "tensor/shape.hpp"

namespace penstock {

/// A rectangular part of a global row-major array, and the place of its elements in the holder's memory.
struct Box {
  std::array<std::int64_t, Shape::most_dimensions> offset{};  ///< in the global array
  Shape extent;                                               ///< dimensions as the global array's
  std::int64_t local_begin = 0;  ///< first element in the holder's flat memory; the box is dense there, row-major

  std::int64_t elements() const { return extent.elements(); }
  bool operator==(const Box&) const = default;
};

/// Cuts elements [begin, end) of the dense row-major block `whole` (at most two dimensions) into at most three boxes:
/// part of a row, whole rows, part of a row. local_begin of the results counts from `begin` = 0.
std::vector<Box> boxes_of_range(const Box& whole, std::int64_t begin, std::int64_t end);

/// Cuts a box (at most two dimensions) into blocks of whole rows, of at most `elements` >= 1 each or one row.
/// local_begin of the results counts from the box's first element.
std::vector<Box> row_blocks(const Box& whole, std::int64_t elements);

}  // namespace penstock
