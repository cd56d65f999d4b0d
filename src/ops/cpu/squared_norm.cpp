// SPDX-License-Identifier: Apache-2.0
#include "ops/squared_norm.hpp"

#include <cstring>

#include "ops/cpu/parallel.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

constexpr std::int64_t block_elements = 4096;

std::int64_t blocks_of(const NormPiece& piece) { return pieces_of(piece.tensor.elements(), block_elements); }

double sum_of_squares(const float* from, std::int64_t n) {
  using Doubles [[gnu::vector_size(4 * lanes)]] = double;
  using HalfFloats [[gnu::vector_size(2 * lanes)]] = float;
  Doubles sums[2] = {};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (std::int64_t half = 0; half < 2; ++half) {
      HalfFloats values;
      std::memcpy(&values, from + i + lanes / 2 * half, sizeof values);
      const Doubles wide = __builtin_convertvector(values, Doubles);
      sums[half] += wide * wide;
    }
  Doubles both = sums[0] + sums[1];
  for (std::int64_t half = lanes / 4; half > 0; half /= 2)
    for (std::int64_t lane = 0; lane < half; ++lane) both[lane] += both[lane + half];
  double sum = both[0];
  for (; i < n; ++i) sum += static_cast<double>(from[i]) * static_cast<double>(from[i]);
  return sum;
}

/// to[i] += from[begin + i], or = without `add`.
void bring(const TensorView& from, std::int64_t begin, std::int64_t n, float* to, bool add) {
  with_type(from.type(), [&]<typename T>(T) {
    const T* first = from.data<T>() + begin;
    for_vectors(n, [&](std::int64_t i, auto part) {
      store(to + i, add ? load(to + i, part) + load(first + i, part) : load(first + i, part), part);
    });
  });
}

/// The sum of one of a piece's blocks.
double sum_of_block(const NormPiece& piece, std::int64_t block) {
  const std::int64_t begin = block * block_elements;
  const std::int64_t n = std::min(block_elements, piece.tensor.elements() - begin);
  if (piece.tensor.type() == DType::float32 && !piece.addend.present())
    return sum_of_squares(piece.tensor.data<float>() + begin, n);
  float values[block_elements];
  bring(piece.tensor, begin, n, values, false);
  if (piece.addend.present()) bring(piece.addend, begin, n, values, true);
  return sum_of_squares(values, n);
}

}  // namespace

void add_squared_norms(Queue& queue, std::span<const NormPiece> pieces) {
  constexpr int blocks_at_once = 8;
  auto* sums = reinterpret_cast<double*>(queue.workspace(squared_norms_workspace(pieces)));
#pragma omp parallel num_threads(queue.threads())
  {
    double* to = sums;
    for (const NormPiece& piece : pieces) {  // no wait between pieces: each has its own place for its blocks' sums
      const std::int64_t blocks = blocks_of(piece);
#pragma omp for schedule(dynamic, blocks_at_once) nowait
      for (std::int64_t block = 0; block < blocks; ++block) to[block] = sum_of_block(piece, block);
      to += blocks;
    }
  }
  for (const NormPiece& piece : pieces) {
    double sum = 0;
    for (std::int64_t block = 0; block < blocks_of(piece); ++block) sum += *sums++;
    *piece.sum.data<double>() += sum;
  }
}

std::size_t squared_norms_workspace(std::span<const NormPiece> pieces) {
  std::int64_t blocks = 0;
  for (const NormPiece& piece : pieces) blocks += blocks_of(piece);
  return static_cast<std::size_t>(blocks) * sizeof(double);
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_FUNCTION(void, add_squared_norms, (Queue & queue, std::span<const NormPiece> pieces), (queue, pieces))
PENSTOCK_FUNCTION(std::size_t, squared_norms_workspace, (std::span<const NormPiece> pieces), (pieces))
