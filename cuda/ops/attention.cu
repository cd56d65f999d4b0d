// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.hpp"

#include <cmath>

#include "ops/attention_cudnn.hpp"
#include "ops/attention_tiles.cuh"

namespace penstock::ops {
namespace {

template <typename T>
struct ForwardArguments {
  AttentionShape shape;
  const T* qkv;
  T* out;
  float* log_sum_exp;
  DropoutSite dropout;
  const std::uint64_t* first_sample;
  float scale;  ///< of the scores: 1 / sqrt(D)
  bool wide;
};

template <typename T>
struct ForwardMemory {
  T* q;             ///< [tile, stride]
  T* k;             ///< [tile, stride]
  T* v;             ///< [tile, stride]
  float* scores;    ///< [tile, score_stride]; a row of weights replaces its scores
  float* out;       ///< [tile, float_stride] sum of weights times v so far
  float* greatest;  ///< [tile] of the scores so far, before scaling
  float* sum;       ///< [tile] of exp(scale * (score - greatest)) so far
  std::uint8_t* kept;

  __host__ __device__ ForwardMemory(SharedCarver& carver, const TileExtents& extents)
      : q(carver.take<T>(extents.tile * extents.stride)),
        k(carver.take<T>(extents.tile * extents.stride)),
        v(carver.take<T>(extents.tile * extents.stride)),
        scores(carver.take<float>(extents.tile * extents.score_stride)),
        out(carver.take<float>(extents.tile * extents.float_stride)),
        greatest(carver.take<float>(extents.tile)),
        sum(carver.take<float>(extents.tile)),
        kept(carver.take<std::uint8_t>(extents.tile * extents.tile / 8)) {}
};

/// One step of the online softmax (Milakov and Gimelshein, arXiv 1805.02867) for the rows of a tile: scores become
/// weights, and sum and out are rescaled to the new greatest score. A warp handles one row at a time.
template <typename T>
__device__ void soften_rows(const ForwardMemory<T>& memory, const TileExtents& extents,
                            const ForwardArguments<T>& arguments, const TileMask& mask, std::int64_t first_query,
                            std::int64_t first_key) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int row = static_cast<int>(threadIdx.x) / 32; row < extents.tile; row += attention_warps) {
    const float* scores = memory.scores + row * extents.score_stride;
    T* weights = reinterpret_cast<T*>(memory.scores) + row * extents.weight_stride;
    float score[keys_of_a_lane];
    float greatest = -INFINITY;
#pragma unroll
    for (int i = 0; i < keys_of_a_lane; ++i) {
      const int key = lane + 32 * i;
      const bool seen = key < extents.tile && is_seen(arguments.shape, first_query + row, first_key + key);
      score[i] = seen ? scores[key] : -INFINITY;
      greatest = fmaxf(greatest, score[i]);
    }
    const float before = memory.greatest[row], sum_before = memory.sum[row];
    const float now = fmaxf(greatest_of_warp(greatest), before);
    const float base = now == -INFINITY ? 0.0F : now;  // a window's row may see none of these keys, and none so far
    const float rescale = expf((before - base) * arguments.scale);
    __syncwarp();  // all lanes have read the row before weights are written over it

    float sum = 0;
#pragma unroll
    for (int i = 0; i < keys_of_a_lane; ++i) {
      const int key = lane + 32 * i;
      if (key >= extents.tile) continue;
      float weight = expf((score[i] - base) * arguments.scale);  // 0 for a key that is not seen
      sum += weight;
      if (arguments.dropout.active()) weight *= mask.factor(row, key, arguments.dropout.scale);
      store(weights + key, weight);
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      memory.greatest[row] = now;
      memory.sum[row] = sum_before * rescale + sum;
    }
    if (first_key > 0)
      for (int channel = lane; channel < extents.width; channel += 32)
        memory.out[row * extents.float_stride + channel] *= rescale;
  }
}

/// One block for each tile of queries; it walks the tiles of keys that these see, up to its own. (At 64 channels a
/// head, shared memory has room for two blocks.)
template <typename T>
__global__ void __launch_bounds__(attention_threads, 2) attend(ForwardArguments<T> arguments, TileExtents extents) {
  extern __shared__ __align__(128) unsigned char shared[];
  SharedCarver carver(shared);
  const ForwardMemory<T> memory(carver, extents);
  const AttentionShape& shape = arguments.shape;
  const std::int64_t heads = shape.samples * shape.heads;
  const int tiles = static_cast<int>((shape.sequence + extents.tile - 1) / extents.tile);
  const std::int64_t number = blockIdx.x % heads;
  // The last tile has the most keys: it starts first, so that no long block starts when the others are done.
  const TilePlace place{number / shape.heads, number % shape.heads, number,
                        tiles - 1 - static_cast<int>(blockIdx.x / heads)};
  const std::int64_t first_query = static_cast<std::int64_t>(place.tile) * extents.tile;
  const TileMask mask{memory.kept, extents.tile / 8};
  const std::uint64_t sample =
      arguments.dropout.active() ? *arguments.first_sample + static_cast<std::uint64_t>(place.sample) : 0;

  load_tile(memory.q, extents, packed_rows(arguments.qkv, shape, place, 0), first_query, shape.sequence,
            arguments.wide);
  clear_tile(memory.out, extents);
  for (int row = static_cast<int>(threadIdx.x); row < extents.tile; row += attention_threads) {
    memory.greatest[row] = -INFINITY;
    memory.sum[row] = 0;
  }
  for (int key_tile = first_key_tile(shape, first_query, extents.tile); key_tile <= place.tile; ++key_tile) {
    const std::int64_t first_key = static_cast<std::int64_t>(key_tile) * extents.tile;
    __syncthreads();  // the tile before is done with
    load_tile(memory.k, extents, packed_rows(arguments.qkv, shape, place, 1), first_key, shape.sequence,
              arguments.wide);
    load_tile(memory.v, extents, packed_rows(arguments.qkv, shape, place, 2), first_key, shape.sequence,
              arguments.wide);
    if (arguments.dropout.active())
      make_mask(mask, extents, arguments.dropout, sample, shape.first_head + place.head, first_query, first_key);
    __syncthreads();
    multiply_tiles<Order::rows, Order::columns>(TileMatrix<T>{memory.q, extents.stride},
                                                TileMatrix<T>{memory.k, extents.stride}, memory.scores,
                                                extents.score_stride, extents.tile, extents.tile, extents.width, false);
    __syncthreads();
    soften_rows(memory, extents, arguments, mask, first_query, first_key);
    __syncthreads();
    const T* weights = reinterpret_cast<const T*>(memory.scores);
    multiply_tiles<Order::rows, Order::rows>(TileMatrix<T>{weights, extents.weight_stride},
                                             TileMatrix<T>{memory.v, extents.stride}, memory.out, extents.float_stride,
                                             extents.tile, extents.width, extents.tile, true);
  }
  __syncthreads();
  store_tile(memory.out, extents, output_rows(arguments.out, shape, place), first_query, shape.sequence,
             [&](int row) { return 1.0F / memory.sum[row]; });
  for (int row = static_cast<int>(threadIdx.x); row < extents.tile; row += attention_threads)
    if (first_query + row < shape.sequence)
      arguments.log_sum_exp[number * shape.sequence + first_query + row] =
          memory.greatest[row] * arguments.scale + logf(memory.sum[row]);
}

}  // namespace

void attention(Queue& queue, const Attention& arguments) {
  const AttentionShape shape = explicit_shape(arguments.shape);
  ensure(arguments.out.type() == arguments.qkv.type(), "attention: qkv and out differ in type");
  if (arguments.out.elements() == 0) return;
  if (attention_by_cudnn(queue, arguments)) return;
  with_device_type(arguments.qkv.type(), [&]<typename T>(T) {
    const TileExtents extents = fitting_extents<ForwardMemory, T>(shape.channels);
    const ForwardArguments<T> given{.shape = shape,
                                    .qkv = static_cast<const T*>(arguments.qkv.raw()),
                                    .out = static_cast<T*>(arguments.out.raw()),
                                    .log_sum_exp = arguments.log_sum_exp.data<float>(),
                                    .dropout = DropoutSite(arguments.dropout),
                                    .first_sample = arguments.first_sample,
                                    .scale = 1.0F / std::sqrt(static_cast<float>(shape.channels)),
                                    .wide = allows_wide_loads<T>(shape, {arguments.qkv.raw()})};
    launch_tiles(queue, attend<T>, given, shape.heads, extents, shared_bytes<ForwardMemory, T>(extents));
  });
}

}  // namespace penstock::ops
