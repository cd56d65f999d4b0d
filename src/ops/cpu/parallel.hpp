// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the CPU's operations are divided among threads: always into pieces that depend only on the tensors' shapes, so
// that the bits of a result do not depend on the number of threads or on which was first.

#include <omp.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include "device/queue.hpp"
#include "ops/cpu/vector_math.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

/// Calls f(float{}) or f(bfloat16{}), by type.
template <typename F>
decltype(auto) with_type(DType type, F&& f) {
  ensure(type == DType::float32 || type == DType::bfloat16, "an operation takes float32 or bfloat16 only");
  if (type == DType::float32) return std::forward<F>(f)(float{});
  return std::forward<F>(f)(bfloat16{});
}

constexpr std::int64_t pieces_of(std::int64_t n, std::int64_t piece) { return (n + piece - 1) / piece; }
constexpr std::int64_t rounded_up(std::int64_t n, std::int64_t multiple) { return pieces_of(n, multiple) * multiple; }

/// Elements [begin, end) of one piece.
struct Piece {
  std::int64_t begin;
  std::int64_t end;
};

/// Calls f(piece number, Piece) for [0, n) in pieces of `size`, on the queue's threads; a free thread takes the next
/// piece.
template <typename F>
void for_pieces(const Queue& queue, std::int64_t n, std::int64_t size, F&& f) {
  const std::int64_t pieces = pieces_of(n, size);
  const int threads = static_cast<int>(std::min<std::int64_t>(queue.threads(), pieces));
#pragma omp parallel for num_threads(threads > 0 ? threads : 1) schedule(dynamic)
  for (std::int64_t p = 0; p < pieces; ++p) f(p, Piece{p * size, std::min(n, (p + 1) * size)});
}

/// Rows of a piece in operations that go through memory row by row.
inline constexpr std::int64_t rows_of_a_piece = 32;

/// Calls f(row) for every row.
template <typename F>
void for_rows(const Queue& queue, std::int64_t rows, F&& f) {
  for_pieces(queue, rows, rows_of_a_piece, [&](std::int64_t, Piece piece) {
    for (std::int64_t row = piece.begin; row < piece.end; ++row) f(row);
  });
}

/// to[c] += partial[0][c] + partial[1][c] + ..., in this order (to[c] = ... without `accumulate`).
inline void add_partial_sums(const Queue& queue, const float* partial, std::int64_t count, std::int64_t stride,
                             float* to, std::int64_t columns, bool accumulate) {
  constexpr std::int64_t columns_of_a_piece = 8 * lanes;
  for_pieces(queue, columns, columns_of_a_piece, [&](std::int64_t, Piece piece) {
    for_vectors(piece.end - piece.begin, [&](std::int64_t c, auto part) {
      c += piece.begin;
      Floats sum{};
      for (std::int64_t p = 0; p < count; ++p) sum += load(partial + p * stride + c, part);
      store(to + c, accumulate ? load(to + c, part) + sum : sum, part);
    });
  });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH
