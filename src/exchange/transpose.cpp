// SPDX-License-Identifier: Apache-2.0
#include "exchange/transpose.hpp"

#include <cstddef>
#include <cstring>
#include <utility>

namespace penstock {
namespace {

constexpr int side = 16;  // floats of a cache line
using Line = float __attribute__((vector_size(side * sizeof(float))));

/// Swaps the off-diagonal blocks of [[a, b]]: those columns of `a` that have the bit `distance` with those of
/// `b` that have it not.
template <int distance, std::size_t... column>
void swap_blocks(Line& a, Line& b, std::index_sequence<column...> /*columns*/) {
  constexpr auto has = [](std::size_t c) { return (c & distance) != 0; };
  const Line upper = __builtin_shufflevector(
      a, b, (has(column) ? side + static_cast<int>(column) - distance : static_cast<int>(column))...);
  const Line lower = __builtin_shufflevector(
      a, b, (has(column) ? side + static_cast<int>(column) : static_cast<int>(column) + distance)...);
  a = upper;
  b = lower;
}

template <int distance>
void swap_all_blocks(Line (&rows)[side]) {
  for (int r = 0; r < side; ++r)
    if ((r & distance) == 0) swap_blocks<distance>(rows[r], rows[r + distance], std::make_index_sequence<side>());
}

/// A block of 16 x 16 in registers: halves change places, then quarters of the halves, down to single elements.
void transpose_block(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride) {
  Line rows[side];
  for (int r = 0; r < side; ++r) std::memcpy(&rows[r], from + r * from_stride, sizeof(Line));
  swap_all_blocks<8>(rows);
  swap_all_blocks<4>(rows);
  swap_all_blocks<2>(rows);
  swap_all_blocks<1>(rows);
  for (int r = 0; r < side; ++r) std::memcpy(to + r * to_stride, &rows[r], sizeof(Line));
}

}  // namespace

void transpose(const float* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns, float* to,
               std::int64_t to_stride) {
  const std::int64_t whole_rows = rows / side * side, whole_columns = columns / side * side;
  for (std::int64_t c = 0; c < whole_columns; c += side)
    for (std::int64_t r = 0; r < whole_rows; r += side) {
      // Lines of many pages are written in turn, which no core foresees: asked for a block ahead they are there.
      const bool down = r + side < whole_rows;
      if (down || c + side < whole_columns) {
        const float* const ahead = down ? to + c * to_stride + r + side : to + (c + side) * to_stride;
        for (int i = 0; i < side; ++i) __builtin_prefetch(ahead + i * to_stride, 1);
      }
      transpose_block(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    }
  for (std::int64_t c = 0; c < columns; ++c)
    for (std::int64_t r = c < whole_columns ? whole_rows : 0; r < rows; ++r)
      to[c * to_stride + r] = from[r * from_stride + c];
}

}  // namespace penstock
