// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sums over the rows of a matrix, in an order that depends only on its shape.

#include <cstddef>
#include <cstdint>

#include "device/queue.hpp"
#include "tensor/dtype.hpp"

namespace penstock::ops {

/// A dense [rows, columns] matrix, float32 or bfloat16.
struct SummedMatrix {
  const void* elements;
  DType type;
  std::int64_t rows;
  std::int64_t columns;
};

/// Workspace in bytes for the sums of such a matrix.
std::size_t column_sum_bytes(std::int64_t rows, std::int64_t columns);

/// Enqueues to[column] = the sum of its column, or += with `accumulate`. `workspace` has column_sum_bytes.
void sum_columns(Queue& queue, const SummedMatrix& matrix, float* to, bool accumulate, std::byte* workspace);

/// The destination of sums of neighbouring columns.
struct SumsOfColumns {
  float* to;
  std::int64_t columns;
};

/// Enqueues the last step of sums over rows that were made piece by piece: sums [pieces, columns of first and second],
/// of which each column's pieces are added to one number, or overwrite it without `accumulate`.
void add_sums_of_pieces(Queue& queue, const float* sums, std::int64_t pieces, SumsOfColumns first, SumsOfColumns second,
                        bool accumulate);

}  // namespace penstock::ops
