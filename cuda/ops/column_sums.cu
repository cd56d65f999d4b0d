// SPDX-License-Identifier: Apache-2.0
#include "ops/column_sums.hpp"

#include <algorithm>

#include "ops/kernel.cuh"
#include "ops/linear_products.hpp"

namespace penstock::ops {
namespace {

constexpr int lines = 8;  ///< warps of a block; each takes every eighth row of a piece
constexpr int columns_of_a_block = eight * warp_threads;

/// Rows are cut into pieces that depend only on their number: of 64 rows, or more if that would make over 256 pieces.
std::int64_t rows_of_a_piece(std::int64_t rows) { return std::max<std::int64_t>(64, parts_of(rows, 256)); }
std::int64_t pieces_of(std::int64_t rows) { return parts_of(rows, rows_of_a_piece(rows)); }

/// partial[piece, column] = sum of a piece's rows: those of each line in order, then line after line. Each thread
/// handles 8 columns.
template <typename T>
__global__ void __launch_bounds__(lines* warp_threads)
    sum_pieces(const T* from, float* partial, std::int64_t rows, std::int64_t columns, std::int64_t piece_rows,
               bool aligned) {
  __shared__ float line_sums[lines][columns_of_a_block];
  const std::int64_t block_column = static_cast<std::int64_t>(blockIdx.y) * columns_of_a_block;
  const std::int64_t column = block_column + threadIdx.x * eight;
  const std::int64_t first = blockIdx.x * piece_rows, end = min(first + piece_rows, rows);
  Eight sums{};
  if (column < columns) {
#pragma unroll 4
    for (std::int64_t row = first + threadIdx.y; row < end; row += lines) {
      const Eight values = load_eight(from + row * columns + column, columns - column, aligned);
#pragma unroll
      for (int i = 0; i < eight; ++i) sums[i] += values[i];
    }
  }
#pragma unroll
  for (int i = 0; i < eight; ++i) line_sums[threadIdx.y][threadIdx.x * eight + i] = sums[i];
  __syncthreads();
  const int own = static_cast<int>(threadIdx.y) * warp_threads + static_cast<int>(threadIdx.x);
  static_assert(lines * warp_threads == columns_of_a_block, "each thread adds up one column");
  if (block_column + own >= columns) return;
  float sum = line_sums[0][own];
#pragma unroll
  for (int line = 1; line < lines; ++line) sum += line_sums[line][own];
  partial[blockIdx.x * columns + block_column + own] = sum;
}

constexpr int line_columns = 32;

/// to[column] (+)= sum of the pieces: 8 lines of threads take every eighth one, and their sums are added in order.
__global__ void __launch_bounds__(line_columns* lines)
    add_pieces(const float* partial, float* to, std::int64_t pieces, std::int64_t columns, bool accumulate) {
  __shared__ float line_sums[lines][line_columns];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * line_columns + threadIdx.x;
  float sum = 0;
  if (column < columns) {
#pragma unroll 4
    for (std::int64_t piece = threadIdx.y; piece < pieces; piece += lines) sum += partial[piece * columns + column];
  }
  line_sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  for (int line = 1; line < lines; ++line) sum += line_sums[line][threadIdx.x];
  to[column] = accumulate ? to[column] + sum : sum;
}

/// Threads that share a column of the pieces' sums: each adds some, then the first adds their results.
constexpr int sum_lines = 32;

__global__ void __launch_bounds__(warp_threads* sum_lines)
    add_pieces_of_two(const float* sums, std::int64_t pieces, SumsOfColumns first, SumsOfColumns second,
                      bool accumulate) {
  __shared__ float of_lines[sum_lines][warp_threads];
  const std::int64_t columns = first.columns + second.columns;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * warp_threads + threadIdx.x;
  float sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (std::int64_t piece = threadIdx.y; piece < pieces; piece += sum_lines) sum += sums[piece * columns + column];
  }
  of_lines[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  for (int line = 1; line < sum_lines; ++line) sum += of_lines[line][threadIdx.x];
  float* to = column < first.columns ? first.to + column : second.to + (column - first.columns);
  *to = accumulate ? *to + sum : sum;
}

}  // namespace

void add_sums_of_pieces(Queue& queue, const float* sums, std::int64_t pieces, SumsOfColumns first, SumsOfColumns second,
                        bool accumulate) {
  add_pieces_of_two<<<grid_of(first.columns + second.columns, warp_threads), dim3(warp_threads, sum_lines), 0,
                      stream_of(queue)>>>(sums, pieces, first, second, accumulate);
  check_launch();
}

std::size_t column_sum_bytes(std::int64_t rows, std::int64_t columns) {
  return rounded_to_256(static_cast<std::size_t>(pieces_of(rows) * columns) * sizeof(float));
}

void sum_columns(Queue& queue, const SummedMatrix& matrix, float* to, bool accumulate, std::byte* workspace) {
  const auto [elements, type, rows, columns] = matrix;
  const std::int64_t pieces = pieces_of(rows);
  auto* partial = reinterpret_cast<float*>(workspace);
  if (pieces > 0)
    with_device_type(type, [&]<typename T>(T) {
      sum_pieces<T><<<grid_of_blocks(pieces, parts_of(columns, columns_of_a_block)), dim3(warp_threads, lines), 0,
                      stream_of(queue)>>>(static_cast<const T*>(elements), partial, rows, columns,
                                          rows_of_a_piece(rows), rows_are_aligned(columns, eight, {elements}));
      check_launch();
    });
  add_pieces<<<grid_of(columns, line_columns), dim3(line_columns, lines), 0, stream_of(queue)>>>(partial, to, pieces,
                                                                                                 columns, accumulate);
  check_launch();
}

}  // namespace penstock::ops
