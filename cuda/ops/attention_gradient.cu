// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "ops/attention.hpp"
#include "ops/attention_cudnn.hpp"
#include "ops/attention_tiles.cuh"

// Two kernels, instead of one that adds into dq from many blocks: one block sums each gradient, in one order, and
// scores are computed twice.

namespace penstock::ops {
namespace {

template <typename T>
struct BackwardArguments {
  AttentionShape shape;
  const T* qkv;
  const T* out;
  const float* log_sum_exp;
  const T* dout;
  T* dqkv;
  float* delta;  ///< [B, H, T] dout . out, in the workspace
  DropoutSite dropout;
  const std::uint64_t* first_sample;
  float scale;  ///< of the scores: 1 / sqrt(D)
  bool wide;
};

/// The memory of a pair of tiles in both kernels.
template <typename T>
struct PairMemory {
  T* q;                ///< [tile, stride]
  T* k;                ///< [tile, stride]
  T* v;                ///< [tile, stride]
  T* dout;             ///< [tile, stride]
  float* scores;       ///< [tile, score_stride]; a row of weights replaces its scores
  float* dweight;      ///< [tile, score_stride] dout v^T; then a row of gradients of scores
  float* log_sum_exp;  ///< [tile] of the queries
  float* delta;        ///< [tile] of the queries
  std::uint8_t* kept;

  __host__ __device__ PairMemory(SharedCarver& carver, const TileExtents& extents)
      : q(carver.take<T>(extents.tile * extents.stride)),
        k(carver.take<T>(extents.tile * extents.stride)),
        v(carver.take<T>(extents.tile * extents.stride)),
        dout(carver.take<T>(extents.tile * extents.stride)),
        scores(carver.take<float>(extents.tile * extents.score_stride)),
        dweight(carver.take<float>(extents.tile * extents.score_stride)),
        log_sum_exp(carver.take<float>(extents.tile)),
        delta(carver.take<float>(extents.tile)),
        kept(carver.take<std::uint8_t>(extents.tile * extents.tile / 8)) {}
};

template <typename T>
struct QueryMemory : PairMemory<T> {
  float* dq;  ///< [tile, float_stride]

  __host__ __device__ QueryMemory(SharedCarver& carver, const TileExtents& extents)
      : PairMemory<T>(carver, extents), dq(carver.take<float>(extents.tile * extents.float_stride)) {}
};

template <typename T>
struct KeyMemory : PairMemory<T> {
  float* dk;  ///< [tile, float_stride]
  float* dv;  ///< [tile, float_stride]

  __host__ __device__ KeyMemory(SharedCarver& carver, const TileExtents& extents)
      : PairMemory<T>(carver, extents),
        dk(carver.take<float>(extents.tile * extents.float_stride)),
        dv(carver.take<float>(extents.tile * extents.float_stride)) {}
};

/// delta = dout . out; a warp for each position of each head.
template <typename T>
__global__ void __launch_bounds__(attention_threads) sum_products(BackwardArguments<T> arguments) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * attention_warps + threadIdx.x / 32;
  const std::int64_t head = warp % shape.heads, row = warp / shape.heads;
  if (row >= shape.samples * shape.sequence) return;
  const std::int64_t first = (row * shape.heads + head) * shape.channels;
  float sum = 0;
  for (std::int64_t channel = threadIdx.x % 32; channel < shape.channels; channel += 32)
    sum = fmaf(load(arguments.dout + first + channel), load(arguments.out + first + channel), sum);
  sum = warp_sum(sum);
  const std::int64_t sample = row / shape.sequence, position = row % shape.sequence;
  if (threadIdx.x % 32 == 0) arguments.delta[(sample * shape.heads + head) * shape.sequence + position] = sum;
}

/// Copies q, dout and the numbers of a tile of queries to shared memory.
template <typename T>
__device__ void load_queries(const PairMemory<T>& memory, const TileExtents& extents,
                             const BackwardArguments<T>& arguments, const TilePlace& place, std::int64_t first_query) {
  const AttentionShape& shape = arguments.shape;
  load_tile(memory.q, extents, packed_rows(arguments.qkv, shape, place, 0), first_query, shape.sequence,
            arguments.wide);
  load_tile(memory.dout, extents, output_rows(arguments.dout, shape, place), first_query, shape.sequence,
            arguments.wide);
  for (int row = static_cast<int>(threadIdx.x); row < extents.tile; row += attention_threads) {
    const bool there = first_query + row < shape.sequence;
    const std::int64_t at = place.number * shape.sequence + first_query + row;
    memory.log_sum_exp[row] = there ? arguments.log_sum_exp[at] : 0;
    memory.delta[row] = there ? arguments.delta[at] : 0;
  }
}

/// Copies k and v of a tile of keys to shared memory.
template <typename T>
__device__ void load_keys(const PairMemory<T>& memory, const TileExtents& extents,
                          const BackwardArguments<T>& arguments, const TilePlace& place, std::int64_t first_key) {
  const AttentionShape& shape = arguments.shape;
  load_tile(memory.k, extents, packed_rows(arguments.qkv, shape, place, 1), first_key, shape.sequence, arguments.wide);
  load_tile(memory.v, extents, packed_rows(arguments.qkv, shape, place, 2), first_key, shape.sequence, arguments.wide);
}

/// Turns scores into weights (after dropout), and their gradients into gradients of the scores. A warp handles one row
/// at a time; keys beyond a query's reach, and rows without a query, become zero.
template <typename T>
__device__ void differentiate_rows(const PairMemory<T>& memory, const TileExtents& extents,
                                   const BackwardArguments<T>& arguments, const TileMask& mask,
                                   std::int64_t first_query, std::int64_t first_key) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int row = static_cast<int>(threadIdx.x) / 32; row < extents.tile; row += attention_warps) {
    const float* scores = memory.scores + row * extents.score_stride;
    const float* dweights = memory.dweight + row * extents.score_stride;
    float weight[keys_of_a_lane], dscore[keys_of_a_lane];
#pragma unroll
    for (int i = 0; i < keys_of_a_lane; ++i) {
      const int key = lane + 32 * i;
      const bool seen = key < extents.tile && is_seen(arguments.shape, first_query + row, first_key + key) &&
                        first_query + row < arguments.shape.sequence;
      weight[i] = dscore[i] = 0;
      if (!seen) continue;
      const float factor = arguments.dropout.active() ? mask.factor(row, key, arguments.dropout.scale) : 1.0F;
      const float p = expf(fmaf(scores[key], arguments.scale, -memory.log_sum_exp[row]));
      weight[i] = p * factor;
      dscore[i] = p * (dweights[key] * factor - memory.delta[row]) * arguments.scale;
    }
    __syncwarp();  // all lanes have read the row before it is written over
    T* weights = reinterpret_cast<T*>(memory.scores) + row * extents.weight_stride;
    T* dscores = reinterpret_cast<T*>(memory.dweight) + row * extents.weight_stride;
#pragma unroll
    for (int i = 0; i < keys_of_a_lane; ++i) {
      const int key = lane + 32 * i;
      if (key >= extents.tile) continue;
      store(weights + key, weight[i]);
      store(dscores + key, dscore[i]);
    }
  }
}

/// Weights and gradients of scores of the pair of tiles that is in shared memory; the block is synchronized before and
/// after.
template <typename T>
__device__ void differentiate_pair(const PairMemory<T>& memory, const TileExtents& extents,
                                   const BackwardArguments<T>& arguments, const TilePlace& place,
                                   std::int64_t first_query, std::int64_t first_key) {
  const TileMask mask{memory.kept, extents.tile / 8};
  if (arguments.dropout.active())
    make_mask(mask, extents, arguments.dropout, *arguments.first_sample + static_cast<std::uint64_t>(place.sample),
              arguments.shape.first_head + place.head, first_query, first_key);
  __syncthreads();
  multiply_tiles<Order::rows, Order::columns>(TileMatrix<T>{memory.q, extents.stride},
                                              TileMatrix<T>{memory.k, extents.stride}, memory.scores,
                                              extents.score_stride, extents.tile, extents.tile, extents.width, false);
  multiply_tiles<Order::rows, Order::columns>(TileMatrix<T>{memory.dout, extents.stride},
                                              TileMatrix<T>{memory.v, extents.stride}, memory.dweight,
                                              extents.score_stride, extents.tile, extents.tile, extents.width, false);
  __syncthreads();
  differentiate_rows(memory, extents, arguments, mask, first_query, first_key);
  __syncthreads();
}

template <typename T>
__device__ TileMatrix<T> weights_of(const float* scores, const TileExtents& extents) {
  return {reinterpret_cast<const T*>(scores), extents.weight_stride};
}

/// dq of one tile of queries, from all tiles of keys that these see, up to its own.
template <typename T>
__global__ void __launch_bounds__(attention_threads, 2)
    differentiate_queries(BackwardArguments<T> arguments, TileExtents extents) {
  extern __shared__ __align__(128) unsigned char shared[];
  SharedCarver carver(shared);
  const QueryMemory<T> memory(carver, extents);
  const AttentionShape& shape = arguments.shape;
  const std::int64_t heads = shape.samples * shape.heads, number = blockIdx.x % heads;
  const int tiles = static_cast<int>((shape.sequence + extents.tile - 1) / extents.tile);
  // The last tile has the most keys: it starts first.
  const TilePlace place{number / shape.heads, number % shape.heads, number,
                        tiles - 1 - static_cast<int>(blockIdx.x / heads)};
  const std::int64_t first_query = static_cast<std::int64_t>(place.tile) * extents.tile;

  load_queries(memory, extents, arguments, place, first_query);
  clear_tile(memory.dq, extents);
  for (int key_tile = first_key_tile(shape, first_query, extents.tile); key_tile <= place.tile; ++key_tile) {
    const std::int64_t first_key = static_cast<std::int64_t>(key_tile) * extents.tile;
    __syncthreads();  // the tile before is done with
    load_keys(memory, extents, arguments, place, first_key);
    differentiate_pair(memory, extents, arguments, place, first_query, first_key);
    multiply_tiles<Order::rows, Order::rows>(weights_of<T>(memory.dweight, extents),
                                             TileMatrix<T>{memory.k, extents.stride}, memory.dq, extents.float_stride,
                                             extents.tile, extents.width, extents.tile, true);
  }
  __syncthreads();
  store_tile(memory.dq, extents, packed_rows(arguments.dqkv, shape, place, 0), first_query, shape.sequence,
             [](int) { return 1.0F; });
}

/// dk and dv of one tile of keys, from all tiles of queries that see them, from its own on; the heads of q that share
/// the keys follow one another.
template <typename T>
__global__ void __launch_bounds__(attention_threads, 2)
    differentiate_keys(BackwardArguments<T> arguments, TileExtents extents) {
  extern __shared__ __align__(128) unsigned char shared[];
  SharedCarver carver(shared);
  const KeyMemory<T> memory(carver, extents);
  const AttentionShape& shape = arguments.shape;
  const std::int64_t key_heads = shape.samples * shape.kv_heads, key_number = blockIdx.x % key_heads;
  const std::int64_t sharing = shape.heads / shape.kv_heads, number = key_number * sharing;
  const int tiles = static_cast<int>((shape.sequence + extents.tile - 1) / extents.tile);
  // The first tile has the most queries: it starts first.
  TilePlace place{number / shape.heads, number % shape.heads, number, static_cast<int>(blockIdx.x / key_heads)};
  const std::int64_t first_key = static_cast<std::int64_t>(place.tile) * extents.tile;

  load_keys(memory, extents, arguments, place, first_key);
  clear_tile(memory.dk, extents);
  clear_tile(memory.dv, extents);
  const int end = end_of_query_tiles(shape, first_key, extents.tile, tiles);
  for (std::int64_t head = 0; head < sharing; ++head, ++place.head, ++place.number)
    for (int query_tile = place.tile; query_tile < end; ++query_tile) {
      const std::int64_t first_query = static_cast<std::int64_t>(query_tile) * extents.tile;
      __syncthreads();  // the tile before is done with
      load_queries(memory, extents, arguments, place, first_query);
      differentiate_pair(memory, extents, arguments, place, first_query, first_key);
      multiply_tiles<Order::columns, Order::rows>(
          weights_of<T>(memory.scores, extents), TileMatrix<T>{memory.dout, extents.stride}, memory.dv,
          extents.float_stride, extents.tile, extents.width, extents.tile, true);
      multiply_tiles<Order::columns, Order::rows>(
          weights_of<T>(memory.dweight, extents), TileMatrix<T>{memory.q, extents.stride}, memory.dk,
          extents.float_stride, extents.tile, extents.width, extents.tile, true);
    }
  place.head -= sharing;
  __syncthreads();
  const auto unchanged = [](int) { return 1.0F; };
  store_tile(memory.dk, extents, packed_rows(arguments.dqkv, shape, place, 1), first_key, shape.sequence, unchanged);
  store_tile(memory.dv, extents, packed_rows(arguments.dqkv, shape, place, 2), first_key, shape.sequence, unchanged);
}

template <typename T>
void launch_sum_products(Queue& queue, const BackwardArguments<T>& arguments) {
  const std::int64_t warps = arguments.shape.samples * arguments.shape.sequence * arguments.shape.heads;
  const std::int64_t blocks = (warps + attention_warps - 1) / attention_warps;
  ensure(blocks < (std::int64_t{1} << 31), "attention_gradient: too many rows for one kernel launch");
  sum_products<T><<<static_cast<unsigned>(blocks), attention_threads, 0, stream_of(queue)>>>(arguments);
  check_launch();
}

std::size_t delta_bytes(const AttentionShape& shape) {
  return static_cast<std::size_t>(shape.samples * shape.heads * shape.sequence) * sizeof(float);
}

}  // namespace

void attention_gradient(Queue& queue, const AttentionGradient& arguments) {
  const AttentionShape shape = explicit_shape(arguments.shape);
  const DType type = arguments.qkv.type();
  ensure(arguments.out.type() == type && arguments.dout.type() == type && arguments.dqkv.type() == type,
         "attention_gradient: qkv, out, dout and dqkv differ in type");
  if (arguments.out.elements() == 0) return;
  if (attention_gradient_by_cudnn(queue, arguments)) return;
  std::byte* workspace = queue.workspace(delta_bytes(shape));
  with_device_type(type, [&]<typename T>(T) {
    const BackwardArguments<T> given{.shape = shape,
                                     .qkv = static_cast<const T*>(arguments.qkv.raw()),
                                     .out = static_cast<const T*>(arguments.out.raw()),
                                     .log_sum_exp = arguments.log_sum_exp.data<float>(),
                                     .dout = static_cast<const T*>(arguments.dout.raw()),
                                     .dqkv = static_cast<T*>(arguments.dqkv.raw()),
                                     .delta = reinterpret_cast<float*>(workspace),
                                     .dropout = DropoutSite(arguments.dropout),
                                     .first_sample = arguments.first_sample,
                                     .scale = 1.0F / std::sqrt(static_cast<float>(shape.channels)),
                                     .wide = allows_wide_loads<T>(shape, {arguments.qkv.raw(), arguments.dout.raw()})};
    launch_sum_products(queue, given);
    const TileExtents of_queries = fitting_extents<QueryMemory, T>(shape.channels);
    launch_tiles(queue, differentiate_queries<T>, given, shape.heads, of_queries,
                 shared_bytes<QueryMemory, T>(of_queries));
    const TileExtents of_keys = fitting_extents<KeyMemory, T>(shape.channels);
    launch_tiles(queue, differentiate_keys<T>, given, shape.kv_heads, of_keys, shared_bytes<KeyMemory, T>(of_keys));
  });
}

void prepare_attention(Queue& queue, const AttentionShape& shape, DType type, const Dropout& dropout) {
  queue.workspace(std::max(delta_bytes(shape), prepare_attention_by_cudnn(queue, shape, type, dropout)));
}

/// Our own gradient keeps dout . out there, cuDNN's keeps more; the number of host threads does not matter.
std::size_t attention_workspace(const AttentionShape& shape, DType type, int) {
  return std::max(delta_bytes(shape), attention_workspace_of_cudnn(shape, type));
}

}  // namespace penstock::ops
