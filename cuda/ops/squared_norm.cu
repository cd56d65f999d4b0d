// SPDX-License-Identifier: Apache-2.0
#include "ops/squared_norm.hpp"

#include <algorithm>

#include "ops/kernel.cuh"
#include "ops/piece_list.cuh"

namespace penstock::ops {
namespace {

constexpr int loads_at_once = 4;
constexpr std::int64_t elements_at_once = loads_at_once * eight * block_threads;
constexpr std::int64_t block_elements = 2 * elements_at_once;

/// A piece in the kernels.
struct DevicePiece {
  DeviceElements from;
  DeviceElements addend;
  double* sum;
  std::int64_t elements;
  std::int32_t first_block;
  bool aligned;
};

/// The pieces of one launch, within the 32764 bytes that a kernel's arguments may have: enough for models of up to 42
/// layers.
struct NormList {
  static constexpr int most = 512;
  DevicePiece pieces[most];
  int count = 0;
  std::int64_t blocks = 0;
};
static_assert(sizeof(NormList) < 32700);

/// The sum of squares of the thread's elements among `elements_at_once` from `first` on.
__device__ double squares_from(const DevicePiece& piece, std::int64_t first) {
  Eight values[loads_at_once];
#pragma unroll
  for (int i = 0; i < loads_at_once; ++i) {
    const std::int64_t at = first + (i * block_threads + static_cast<int>(threadIdx.x)) * eight;
    values[i] = piece.from.load(at, piece.elements - at, piece.aligned);
    if (!piece.addend.present()) continue;
    const Eight addend = piece.addend.load(at, piece.elements - at, piece.aligned);
#pragma unroll
    for (int k = 0; k < eight; ++k) values[i][k] += addend[k];
  }
  double sum = 0;
#pragma unroll
  for (int i = 0; i < loads_at_once; ++i)
#pragma unroll
    for (int k = 0; k < eight; ++k) {
      const auto value = static_cast<double>(values[i][k]);
      sum += value * value;
    }
  return sum;
}

/// sums[b] = the sum of squares of the elements of block b, which belong to one piece.
__global__ void __launch_bounds__(block_threads)
    squares_of_blocks(const __grid_constant__ NormList list, double* sums) {
  const auto block = static_cast<int>(blockIdx.x);
  const DevicePiece& piece = list.pieces[piece_of_block(list.pieces, list.count, block)];
  const std::int64_t begin = static_cast<std::int64_t>(block - piece.first_block) * block_elements;
  const double sum = block_sum(squares_from(piece, begin) + squares_from(piece, begin + elements_at_once));
  if (threadIdx.x == 0) sums[block] = sum;
}

/// The sum of n numbers, for all threads of the block: each adds up neighbours, in order, then block_sum adds these.
__device__ double sum_of_numbers(const double* numbers, std::int64_t n) {
  const std::int64_t share = parts_of(n, block_threads), begin = share * threadIdx.x;
  const std::int64_t end = begin + share < n ? begin + share : n;
  double sum = 0;
  for (std::int64_t i = begin; i < end; ++i) sum += numbers[i];
  return block_sum(sum);
}

/// One block for each sum: the first of the pieces that share it adds for all of them.
__global__ void add_sums_of_pieces(const __grid_constant__ NormList list, const double* sums) {
  const auto first = static_cast<int>(blockIdx.x);
  double* to = list.pieces[first].sum;
  if (first > 0 && list.pieces[first - 1].sum == to) return;
  double sum = *to;
  for (int p = first; p < list.count && list.pieces[p].sum == to; ++p) {
    const DevicePiece& piece = list.pieces[p];
    sum += sum_of_numbers(sums + piece.first_block, parts_of(piece.elements, block_elements));
  }
  if (threadIdx.x == 0) *to = sum;
}

void launch(Queue& queue, const NormList& list, double* sums) {
  if (list.count == 0) return;
  squares_of_blocks<<<grid_of(list.blocks, 1), block_threads, 0, stream_of(queue)>>>(list, sums);
  check_launch();
  add_sums_of_pieces<<<grid_of(list.count, 1), block_threads, 0, stream_of(queue)>>>(list, sums);
  check_launch();
}

std::int64_t blocks_of(const NormPiece& piece) { return parts_of(piece.tensor.elements(), block_elements); }

}  // namespace

void add_squared_norms(Queue& queue, std::span<const NormPiece> pieces) {
  auto* sums = reinterpret_cast<double*>(queue.workspace(squared_norms_workspace(pieces)));
  NormList list;
  for (const NormPiece& piece : pieces) {
    if (piece.tensor.elements() == 0) continue;
    if (list.count == NormList::most) {
      launch(queue, list, sums);  // the next launch uses the same workspace, and follows this one
      list.count = 0, list.blocks = 0;
    }
    list.pieces[list.count++] = {.from = DeviceElements(piece.tensor),
                                 .addend = DeviceElements(piece.addend),
                                 .sum = piece.sum.data<double>(),
                                 .elements = piece.tensor.elements(),
                                 .first_block = static_cast<std::int32_t>(list.blocks),
                                 .aligned = rows_are_aligned(eight, eight, {piece.tensor.raw(), piece.addend.raw()})};
    list.blocks += blocks_of(piece);
    ensure(list.blocks <= std::numeric_limits<std::int32_t>::max(), "the norm: too many elements for one launch");
  }
  launch(queue, list, sums);
}

std::size_t squared_norms_workspace(std::span<const NormPiece> pieces) {
  std::int64_t blocks = 0;
  for (const NormPiece& piece : pieces) blocks += blocks_of(piece);
  return static_cast<std::size_t>(blocks) * sizeof(double);
}

}  // namespace penstock::ops
