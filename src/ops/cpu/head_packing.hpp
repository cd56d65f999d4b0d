// SPDX-License-Identifier: Apache-2.0
#pragma once
// The layout of one head's rows for the tile products of attention.

#include <cstdint>
#include <type_traits>

#include "ops/cpu/tile_product.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

/// Rows of a head are on different pages, which the processor does not prefetch: asks for the row that is read (or
/// written) some rows later.
template <bool written = false, typename T>
PENSTOCK_INLINE void ask_for_row(const T* row, std::int64_t row_stride, std::int64_t channels) {
  constexpr std::int64_t rows_ahead = 12;
  constexpr std::int64_t cache_line = 64 / static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t c = 0; c < channels; c += cache_line)
    __builtin_prefetch(row + rows_ahead * row_stride + c, written);
}

/// Copies `rows` rows of D channels, `row_stride` elements apart, to rows of `width` floats; the rest of a row, and
/// rows up to `padded_rows`, become zero.
template <typename T>
void pack_rows(const T* from, std::int64_t row_stride, std::int64_t rows, std::int64_t channels, float* to,
               std::int64_t width, std::int64_t padded_rows) {
  for (std::int64_t row = 0; row < rows; ++row, from += row_stride, to += width) {
    ask_for_row(from, row_stride, channels);
    if constexpr (std::is_same_v<float, T>)
      std::memcpy(to, from, static_cast<std::size_t>(channels) * sizeof(T));
    else
      for_vectors(channels, [&](std::int64_t c, auto part) { store(to + c, load(from + c, part), part); });
    std::memset(to + channels, 0, static_cast<std::size_t>(width - channels) * sizeof(float));
  }
  std::memset(to, 0, static_cast<std::size_t>((padded_rows - rows) * width) * sizeof(float));
}

/// Transposes lanes x lanes numbers, rows `from_stride` and `to_stride` numbers apart.
inline void transpose_tile(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride) {
  Floats rows[lanes];
  for (int r = 0; r < lanes; ++r) std::memcpy(&rows[r], from + r * from_stride, sizeof(Floats));
  // Exchanges row i with row i + half, lane by lane: lanes whose number has the bit `half` come from the other row.
  const auto exchange = [&]<int half>(std::integral_constant<int, half>) __attribute__((always_inline)) {
    constexpr int n = static_cast<int>(lanes);
    constexpr Ints low = lanes_from([](int lane) { return lane & half ? n + lane - half : lane; });
    constexpr Ints high = lanes_from([](int lane) { return lane & half ? n + lane : lane + half; });
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if (i & half) continue;
      const Floats upper = rows[i];
      const Floats lower = rows[i + half];
      rows[i] = __builtin_shuffle(upper, lower, low);
      rows[i + half] = __builtin_shuffle(upper, lower, high);
    }
  };
  if constexpr (lanes == 16) exchange(std::integral_constant<int, 8>{});
  exchange(std::integral_constant<int, 4>{});
  exchange(std::integral_constant<int, 2>{});
  exchange(std::integral_constant<int, 1>{});
  for (int r = 0; r < lanes; ++r) std::memcpy(to + r * to_stride, &rows[r], sizeof(Floats));
}

/// From packed rows of `width` numbers, a multiple of 64 rows, to panels of 64 rows: number c of row r lies at
/// (r / 64) * width * 64 + c * 64 + r % 64.
inline void pack_columns(const float* rows, std::int64_t row_count, std::int64_t width, float* panels) {
  for (std::int64_t row = 0; row < row_count; row += lanes)
    for (std::int64_t c = 0; c < width; c += lanes)
      transpose_tile(rows + row * width + c, width,
                     panels + row / panel_columns * width * panel_columns + c * panel_columns + row % panel_columns,
                     panel_columns);
}

}  // namespace penstock::ops::PENSTOCK_WIDTH
