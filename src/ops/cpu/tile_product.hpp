// SPDX-License-Identifier: Apache-2.0
#pragma once
// Small products on one thread: c (+)= a b, tile by tile in registers. One instruction multiplies a number of `a` with
// a vector of `b`. Bfloat16 is multiplied as float32, too. (The instruction that multiplies pairs of bfloat16 was
// tried: on a Xeon with AMX, where it does no more per cycle than two of float32, attention took 1.3 to 1.4 times as
// long, because the pairs must be built first.)

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "ops/cpu/vector_math.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

/// The layout: number (row, step) of a left-hand side is at row * row_stride + step * step_stride.
struct LeftSide {
  const float* values;
  std::int64_t row_stride;
  std::int64_t step_stride;
};
/// Number (step, column) of a right-hand side at step * stride + column.
struct RightSide {
  const float* values;
  std::int64_t stride;
};
/// Result (row, column) at row * stride + column.
struct Result {
  float* values;
  std::int64_t stride;
};
/// Steps [begin, end) of the summed dimension.
struct Steps {
  std::int64_t begin;
  std::int64_t end;
};

/// Keeps GCC from reloading the vector for every product: loads would then limit the speed.
PENSTOCK_INLINE void hold_in_register([[maybe_unused]] Floats& vector) {
#if defined __AVX512F__
  asm("" : "+v"(vector));
#elif defined __AVX2__
  asm("" : "+x"(vector));
#endif
}

/// One tile of `rows` x lanes * `vectors` results, held in registers over all steps.
template <int rows, int vectors>
PENSTOCK_INLINE void multiply_tile(LeftSide a, RightSide b, Result c, Steps steps, bool accumulate) {
  Floats sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      sums[r][v] = accumulate ? load(c.values + r * c.stride + v * lanes, All{}) : Floats{};
  const auto* left = a.values + steps.begin * a.step_stride;
  const auto* right = b.values + steps.begin * b.stride;
  for (std::int64_t step = steps.begin; step < steps.end; ++step) {
    Floats b_vectors[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      std::memcpy(&b_vectors[v], right + v * lanes, sizeof(Floats));
      hold_in_register(b_vectors[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Floats a_vector = splat(left[r * a.row_stride]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[r][v] = sums[r][v] + a_vector * b_vectors[v];
    }
    left += a.step_stride;
    right += b.stride;
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) store(c.values + r * c.stride + v * lanes, sums[r][v], All{});
}

/// The row step of the loops below: a multiple of every tile's rows.
inline constexpr std::int64_t tile_rows = 8;
/// Columns of b that are stored together.
inline constexpr std::int64_t panel_columns = 64;

// A tile's sums, a row of b and a broadcast number of a must fit into the registers: 32 with AVX-512, otherwise 16.
inline constexpr int widest_tile = lanes == 16 ? 4 : 3;  ///< in vectors
constexpr int rows_of_tile(int vectors) { return vectors < (lanes == 16 ? 4 : 2) ? 8 : 4; }

/// c (+)= a b for 8 rows and `vectors` vectors of columns.
template <int vectors>
PENSTOCK_INLINE void multiply_strip(LeftSide a, RightSide b, Result c, Steps steps, bool accumulate) {
  constexpr int rows = rows_of_tile(vectors);
  for (std::int64_t row = 0; row < tile_rows; row += rows)
    multiply_tile<rows, vectors>({a.values + row * a.row_stride, a.row_stride, a.step_stride}, b,
                                 {c.values + row * c.stride, c.stride}, steps, accumulate);
}

/// c (+)= a b for 8 rows and up to 64 columns, of which `vectors` vectors are computed, in strips of nearly equal
/// width.
inline void multiply_panel_rows(LeftSide a, RightSide b, Result c, Steps steps, std::int64_t vectors, bool accumulate) {
  for (std::int64_t strips = (vectors + widest_tile - 1) / widest_tile; strips > 0; --strips) {
    const std::int64_t width = (vectors + strips - 1) / strips;
    switch (width) {
      case 1:
        multiply_strip<1>(a, b, c, steps, accumulate);
        break;
      case 2:
        multiply_strip<2>(a, b, c, steps, accumulate);
        break;
      case 3:
        multiply_strip<3>(a, b, c, steps, accumulate);
        break;
      default:
        multiply_strip<widest_tile>(a, b, c, steps, accumulate);
    }
    vectors -= width;
    b.values += width * lanes;
    c.values += width * lanes;
  }
}

/// c (+)= a b for `rows` (a multiple of 8) and `columns` (a multiple of the lanes) results; steps_of(row) gives the
/// steps of the 8 rows from `row` on, and columns_of(row) how many of their columns are needed. Panels of 64 columns of
/// b are `panel_stride` numbers apart.
template <typename StepsOf, typename ColumnsOf>
void multiply(LeftSide a, RightSide b, std::int64_t panel_stride, Result c, std::int64_t rows, std::int64_t columns,
              bool accumulate, StepsOf&& steps_of, ColumnsOf&& columns_of) {
  for (std::int64_t first = 0; first < columns; first += panel_columns) {
    for (std::int64_t row = 0; row < rows; row += tile_rows) {
      const std::int64_t wanted = std::min({columns, columns_of(row), first + panel_columns}) - first;
      if (wanted <= 0) continue;
      multiply_panel_rows({a.values + row * a.row_stride, a.row_stride, a.step_stride}, b,
                          {c.values + row * c.stride + first, c.stride}, steps_of(row), (wanted + lanes - 1) / lanes,
                          accumulate);
    }
    b.values += panel_stride;
  }
}

}  // namespace penstock::ops::PENSTOCK_WIDTH
