// SPDX-License-Identifier: Apache-2.0
#pragma once
// Transposing matrices that do not fit the cache, tile by tile.

#include <algorithm>
#include <cstdint>
#include <memory>

#include "exchange/safetensors_file.hpp"

namespace penstock {

/// to[c * to_stride + r] = from[r * from_stride + c] for all rows and columns.
void transpose(const float* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns, float* to,
               std::int64_t to_stride);

/// Rows and columns of a tile: its rows become runs of cache lines of the transposed matrix, its columns long runs of a
/// file, and it fits a core's second cache.
inline constexpr std::int64_t tile_rows = 128, tile_columns = 1024;

/// Calls use(tile, memory, stride) for every tile of `part`; memory has room for the tile, its rows at distances of
/// `stride`.
template <typename Use>
void for_each_tile(const MatrixPart& part, const Use& use) {
  if (part.rows <= 0 || part.columns <= 0) return;
  // Not a power of two: the rows of a column would share a few sets of the cache.
  const std::int64_t stride = std::min(part.columns, tile_columns) + 16;
  const auto memory =
      std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(std::min(part.rows, tile_rows) * stride));
  for (std::int64_t column = 0; column < part.columns; column += tile_columns)
    for (std::int64_t row = 0; row < part.rows; row += tile_rows)
      use(MatrixPart{.first_row = part.first_row + row,
                     .first_column = part.first_column + column,
                     .rows = std::min(tile_rows, part.rows - row),
                     .columns = std::min(tile_columns, part.columns - column)},
          memory.get(), stride);
}

}  // namespace penstock
