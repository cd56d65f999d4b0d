// SPDX-License-Identifier: Apache-2.0
#include "ops/multiply_tiles.hpp"

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

constexpr int tile = 32;
constexpr int tile_lines = 8;  ///< lines of threads that work on a tile

/// A block computes 32 x 32 elements of D, a thread 4 of them.
template <typename T, typename Result>
__global__ void __launch_bounds__(tile* tile_lines)
    multiply_tiles(const T* a, const T* b, Result* d, Product product, std::int64_t tiles_m) {
  __shared__ float a_tile[tile][tile + 1];  // [step, row of D]
  __shared__ float b_tile[tile][tile + 1];  // [step, column of D]
  const std::int64_t first_i = blockIdx.x % tiles_m * tile;
  const std::int64_t first_j = blockIdx.x / tiles_m * tile;
  const int x = static_cast<int>(threadIdx.x);
  float sums[tile / tile_lines] = {};

  for (std::int64_t first_l = 0; first_l < product.k; first_l += tile) {
    for (int y = static_cast<int>(threadIdx.y); y < tile; y += tile_lines) {
      // Neighbouring threads read neighbours in memory, for either layout.
      const int a_i = product.transpose_a ? y : x, a_l = product.transpose_a ? x : y;
      const std::int64_t i = first_i + a_i, l = first_l + a_l;
      const bool a_inside = i < product.m && l < product.k;
      a_tile[a_l][a_i] = a_inside ? load(a + (product.transpose_a ? i * product.k + l : l * product.m + i)) : 0.0F;
      const int b_j = product.transpose_b ? x : y, b_l = product.transpose_b ? y : x;
      const std::int64_t j = first_j + b_j, s = first_l + b_l;
      const bool b_inside = j < product.n && s < product.k;
      b_tile[b_l][b_j] = b_inside ? load(b + (product.transpose_b ? s * product.n + j : j * product.k + s)) : 0.0F;
    }
    __syncthreads();
    for (int l = 0; l < tile; ++l)
      for (int part = 0; part < tile / tile_lines; ++part)
        sums[part] += a_tile[l][x] * b_tile[l][static_cast<int>(threadIdx.y) + part * tile_lines];
    __syncthreads();
  }
  for (int part = 0; part < tile / tile_lines; ++part) {
    const std::int64_t i = first_i + x, j = first_j + threadIdx.y + part * tile_lines;
    if (i >= product.m || j >= product.n) continue;
    Result* to = d + j * product.m + i;
    store(to, product.accumulate ? load(to) + sums[part] : sums[part]);
  }
}

}  // namespace

void multiply_by_tiles(Queue& queue, const Product& product, const Operands& operands) {
  const std::int64_t tiles_m = parts_of(product.m, tile), tiles_n = parts_of(product.n, tile);
  with_device_type(product.type, [&]<typename T>(T) {
    with_device_type(product.result, [&]<typename Result>(Result) {
      multiply_tiles<T, Result><<<grid_of(tiles_m * tiles_n, 1), dim3(tile, tile_lines), 0, stream_of(queue)>>>(
          static_cast<const T*>(operands.a), static_cast<const T*>(operands.b), static_cast<Result*>(operands.d),
          product, tiles_m);
      check_launch();
    });
  });
}

}  // namespace penstock::ops
