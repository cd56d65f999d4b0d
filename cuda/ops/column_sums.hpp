// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sums over the rows of a matrix, in an order that its shape alone fixes.

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

/// Bytes of workspace that the sums of such a matrix need.
std::size_t column_sum_bytes(std::int64_t rows, std::int64_t columns);

/// Enqueues to[column] = the sum of its column, or += where `accumulate` says so. `workspace` has column_sum_bytes.
void sum_columns(Queue& queue, const SummedMatrix& matrix, float* to, bool accumulate, std::byte* workspace);

}  // namespace penstock::ops
