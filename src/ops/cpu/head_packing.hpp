// SPDX-License-Identifier: Apache-2.0
#pragma once
// How one head's rows are laid out for the tile products of attention.

#include <cstdint>

#include "ops/cpu/tile_product.hpp"

namespace penstock::ops {

/// Copies `rows` rows of D channels, `row_stride` elements apart, to rows of `width` elements; what is behind the
/// channels, and rows up to `padded_rows`, become zero.
template <typename Element, typename T>
void pack_rows(const T* from, std::int64_t row_stride, std::int64_t rows, std::int64_t channels, Element* to,
               std::int64_t width, std::int64_t padded_rows) {
  constexpr std::int64_t rows_ahead = 12;  // rows lie on pages of their own, which the processor does not foresee
  constexpr std::int64_t cache_line = 64 / static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t row = 0; row < rows; ++row, from += row_stride, to += width) {
    if (row + rows_ahead < rows)
      for (std::int64_t c = 0; c < channels; c += cache_line) __builtin_prefetch(from + rows_ahead * row_stride + c);
    if constexpr (std::is_same_v<Element, T>)
      std::memcpy(to, from, static_cast<std::size_t>(channels) * sizeof(T));
    else
      for_vectors(channels, [&](std::int64_t c, auto part) { store(to + c, load(from + c, part), part); });
    std::memset(to + channels, 0, static_cast<std::size_t>(width - channels) * sizeof(Element));
  }
  std::memset(to, 0, static_cast<std::size_t>((padded_rows - rows) * width) * sizeof(Element));
}

/// Transposes 16 x 16 words, rows `from_stride` and `to_stride` words apart.
inline void transpose_tile(const std::uint32_t* from, std::int64_t from_stride, std::uint32_t* to,
                           std::int64_t to_stride) {
  Words rows[lanes];
  for (int r = 0; r < lanes; ++r) std::memcpy(&rows[r], from + r * from_stride, sizeof(Words));
  // Row i is exchanged with row i + half, lane by lane: the lanes whose number has the bit `half` come from the other
  // row.
  const auto exchange = [&](int half, Ints low, Ints high) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if (i & half) continue;
      const Words upper = rows[i];
      const Words lower = rows[i + half];
      rows[i] = __builtin_shuffle(upper, lower, low);
      rows[i + half] = __builtin_shuffle(upper, lower, high);
    }
  };
  exchange(8, Ints{0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23},
           Ints{8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31});
  exchange(4, Ints{0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27},
           Ints{4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31});
  exchange(2, Ints{0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29},
           Ints{2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31});
  exchange(1, Ints{0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30},
           Ints{1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31});
  for (int r = 0; r < lanes; ++r) std::memcpy(to + r * to_stride, &rows[r], sizeof(Words));
}

/// From packed rows (`units` words each) of a multiple of 64 rows to panels of 64 rows: unit u of row r lies at
/// (r / 64) * units * 64 + u * 64 + r % 64.
inline void pack_columns(const void* rows, std::int64_t row_count, std::int64_t units, void* panels) {
  const auto* from = static_cast<const std::uint32_t*>(rows);
  auto* to = static_cast<std::uint32_t*>(panels);
  for (std::int64_t row = 0; row < row_count; row += lanes)
    for (std::int64_t unit = 0; unit < units; unit += lanes)
      transpose_tile(from + row * units + unit, units,
                     to + row / panel_columns * units * panel_columns + unit * panel_columns + row % panel_columns,
                     panel_columns);
}

/// Units along the rows' numbers: element (row, c) of packed rows goes to unit row / depth, column c. For float units
/// the packed rows are that already, and are what is returned.
inline const float* pack_steps(const float* rows, std::int64_t, std::int64_t, float*) { return rows; }
inline const std::uint32_t* pack_steps(const bfloat16* rows, std::int64_t row_count, std::int64_t width,
                                       std::uint32_t* units) {
  for (std::int64_t row = 0; row < row_count; row += 2) {
    const bfloat16* even = rows + row * width;
    std::uint32_t* to = units + row / 2 * width;
    for (std::int64_t c = 0; c < width; c += lanes) {
      HalfWords lower;
      HalfWords upper;
      std::memcpy(&lower, even + c, sizeof lower);
      std::memcpy(&upper, even + width + c, sizeof upper);
      const Words pairs = __builtin_convertvector(lower, Words) | __builtin_convertvector(upper, Words) << 16;
      std::memcpy(to + c, &pairs, sizeof pairs);
    }
  }
  return units;
}

}  // namespace penstock::ops
