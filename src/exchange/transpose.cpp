// SPDX-License-Identifier: Apache-2.0
#include "exchange/transpose.hpp"

namespace penstock {
namespace {

constexpr std::int64_t side = 16;  // floats of a cache line

void transpose_block(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride) {
  float block[side][side];
  for (std::int64_t r = 0; r < side; ++r)
    for (std::int64_t c = 0; c < side; ++c) block[c][r] = from[r * from_stride + c];
  for (std::int64_t c = 0; c < side; ++c)
    for (std::int64_t r = 0; r < side; ++r) to[c * to_stride + r] = block[c][r];
}

}  // namespace

void transpose(const float* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns, float* to,
               std::int64_t to_stride) {
  const std::int64_t whole_rows = rows / side * side, whole_columns = columns / side * side;
  for (std::int64_t c = 0; c < whole_columns; c += side)
    for (std::int64_t r = 0; r < whole_rows; r += side)
      transpose_block(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
  for (std::int64_t c = 0; c < columns; ++c)
    for (std::int64_t r = c < whole_columns ? whole_rows : 0; r < rows; ++r)
      to[c * to_stride + r] = from[r * from_stride + c];
}

}  // namespace penstock
