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

/// Floats of a tile, which fits a core's second cache, and its most columns. Each row of a tile is a run in the file.
/// With fewer columns there are more runs, and cache lines shared by two tiles are read or written more often.
inline constexpr std::int64_t tile_elements = std::int64_t{128} << 10, most_tile_columns = 4096;

/// Tiles have all columns where that is possible, and as many rows as fit: these become runs of the transposed matrix.
inline MatrixPart tile_of(const MatrixPart& part) {
  constexpr std::int64_t line = 16;  // floats of a cache line
  const std::int64_t columns = std::min(part.columns, most_tile_columns);
  const std::int64_t rows = std::max(line, tile_elements / columns / line * line);
  return {.rows = std::min(part.rows, rows), .columns = columns};
}

/// Calls use(tile, memory, stride) for every tile of `part`; memory has room for the tile, its rows at distances of
/// `stride`.
template <typename Use>
void for_each_tile(const MatrixPart& part, const Use& use) {
  if (part.rows <= 0 || part.columns <= 0) return;
  const MatrixPart tile = tile_of(part);
  // Not a power of two: the rows of a column would share a few sets of the cache.
  const std::int64_t stride = tile.columns + 16;
  const auto memory = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(tile.rows * stride));
  for (std::int64_t column = 0; column < part.columns; column += tile.columns)
    for (std::int64_t row = 0; row < part.rows; row += tile.rows)
      use(MatrixPart{.first_row = part.first_row + row,
                     .first_column = part.first_column + column,
                     .rows = std::min(tile.rows, part.rows - row),
                     .columns = std::min(tile.columns, part.columns - column)},
          memory.get(), stride);
}

}  // namespace penstock
