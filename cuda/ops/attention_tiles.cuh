// SPDX-License-Identifier: Apache-2.0
#pragma once
// Shared by the kernels of attention and of its gradient. A block of threads works on one tile of queries and one tile
// of keys of one head at a time, all in shared memory: products of tiles, and between them work row by row (one warp
// for each row). Tiles are padded with zeros to multiples of 16. bfloat16 products run on tensor cores, float32
// ones are plain; both add in float32, in an order that depends only on the shape.

#include <cuda_bf16.h>
#include <mma.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/attention.hpp"
#include "ops/dropout.cuh"
#include "ops/kernel.cuh"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

inline constexpr int attention_threads = 256;
inline constexpr int attention_warps = attention_threads / warp_threads;

/// Shared memory of a block: a little less than the 163 KiB of compute capability 8.0 (9.0 and 10.0 have 227). It is
/// the same on all of them, so that the tiles, and with them the bits, do not depend on the device.
inline constexpr std::size_t most_shared_bytes = std::size_t{160} << 10;

__host__ __device__ constexpr int rounded_to_16(int n) { return (n + 15) / 16 * 16; }

// ---- Extents ------------------------------------------------------------------------------------------------------

/// Extents of the tiles in shared memory, in elements. Strides are a little longer than the rows, so that neighbouring
/// rows start in different memory banks.
struct TileExtents {
  int tile;           ///< queries, and keys, of a tile
  int channels;       ///< D
  int width;          ///< D, up to a multiple of 16
  int stride;         ///< of rows of q, k, v and dout: T elements
  int float_stride;   ///< of rows of sums over channels: float32
  int score_stride;   ///< of rows of scores and their gradients: float32
  int weight_stride;  ///< of rows of T elements that replace a row of scores

  template <typename T>
  static TileExtents of(int tile, int channels) {
    const int width = rounded_to_16(channels), wide = 16 / static_cast<int>(sizeof(T));
    return {tile,
            channels,
            width,
            width + wide,
            width + 4,
            tile + 4,
            static_cast<int>((tile + 4) * sizeof(float) / sizeof(T))};
  }
};

/// Cuts pieces, aligned to 128 bytes, from shared memory; from null it only counts.
class SharedCarver {
 public:
  __host__ __device__ explicit SharedCarver(unsigned char* base) : base_(base) {}
  template <typename T>
  __host__ __device__ T* take(int count) {
    T* piece = base_ ? reinterpret_cast<T*>(base_ + taken_) : nullptr;
    taken_ += (count * sizeof(T) + 127) / 128 * 128;
    return piece;
  }
  __host__ __device__ std::size_t taken() const { return taken_; }

 private:
  unsigned char* base_;
  std::size_t taken_ = 0;
};

/// The largest tile whose Memory<T> fits into shared memory.
template <template <typename> typename Memory, typename T>
TileExtents fitting_extents(std::int64_t channels) {
  ensure(channels > 0 && channels < 4096, "attention: a head has too many channels for the kernels on this device");
  for (const int tile : {64, 32, 16}) {
    const auto extents = TileExtents::of<T>(tile, static_cast<int>(channels));
    SharedCarver carver(nullptr);
    Memory<T>(carver, extents);
    if (carver.taken() <= most_shared_bytes) return extents;
  }
  throw InputError("attention: a head of " + std::to_string(channels) +
                   " channels does not fit into the shared memory of a device; 256 channels a head always do: use more "
                   "heads");
}

template <template <typename> typename Memory, typename T>
std::size_t shared_bytes(const TileExtents& extents) {
  SharedCarver carver(nullptr);
  Memory<T>(carver, extents);
  return carver.taken();
}

// ---- What sees what -----------------------------------------------------------------------------------------------

/// The shape as kernels take it: the number of heads of k and v is explicit, and without a window there is an unbounded
/// one.
inline AttentionShape explicit_shape(AttentionShape shape) {
  shape.kv_heads = shape.key_heads();
  if (shape.window <= 0) shape.window = std::int64_t{1} << 40;
  return shape;
}

__device__ inline bool is_seen(const AttentionShape& shape, std::int64_t query, std::int64_t key) {
  return key <= query && key + shape.window > query;
}

/// The first tile of keys that a tile of queries sees.
__device__ inline int first_key_tile(const AttentionShape& shape, std::int64_t first_query, int tile) {
  const std::int64_t first = first_query - shape.window + 1;
  return first > 0 ? static_cast<int>(first / tile) : 0;
}

/// One past the last tile of queries, of `tiles`, that sees a tile of keys.
__device__ inline int end_of_query_tiles(const AttentionShape& shape, std::int64_t first_key, int tile, int tiles) {
  const std::int64_t last_query = first_key + tile - 1 + shape.window - 1;
  return static_cast<int>(min(last_query / tile + 1, static_cast<std::int64_t>(tiles)));
}

// ---- Places in global memory --------------------------------------------------------------------------------------

/// The tile and the head on which a block works.
struct TilePlace {
  std::int64_t sample, head;  ///< local, of q
  std::int64_t number;        ///< sample * heads + head
  int tile;
};

/// Rows of one head in a packed array.
template <typename T>
struct HeadRows {
  T* first;             ///< of position 0
  std::int64_t stride;  ///< between positions

  __device__ T* at(std::int64_t position) const { return first + position * stride; }
};

/// Part 0 (q), 1 (k) or 2 (v) of the head's rows in qkv or dqkv; place.head is a head of q.
template <typename T>
__device__ HeadRows<T> packed_rows(T* qkv, const AttentionShape& shape, const TilePlace& place, int part) {
  const std::int64_t row = (shape.heads + 2 * shape.kv_heads) * shape.channels;
  const std::int64_t key_head = place.head / (shape.heads / shape.kv_heads);
  const std::int64_t head = part == 0 ? place.head : shape.heads + (part - 1) * shape.kv_heads + key_head;
  return {qkv + place.sample * shape.sequence * row + head * shape.channels, row};
}

/// The head's rows in out or dout.
template <typename T>
__device__ HeadRows<T> output_rows(T* out, const AttentionShape& shape, const TilePlace& place) {
  const std::int64_t row = shape.heads * shape.channels;
  return {out + place.sample * shape.sequence * row + place.head * shape.channels, row};
}

/// Whether rows of heads can be read 16 bytes at a time.
template <typename T>
bool allows_wide_loads(const AttentionShape& shape, std::initializer_list<const void*> addresses) {
  if (shape.channels * static_cast<std::int64_t>(sizeof(T)) % 16 != 0) return false;
  for (const void* address : addresses)
    if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) return false;
  return true;
}

/// Copies positions [first, first + tile) of a head to shared memory, zeros where there are none.
template <typename T>
__device__ void load_tile(T* to, const TileExtents& extents, const HeadRows<const T>& rows, std::int64_t first,
                          std::int64_t sequence, bool wide) {
  const int thread = static_cast<int>(threadIdx.x);
  if (wide) {
    constexpr int together = 16 / static_cast<int>(sizeof(T));
    const int packs = extents.width / together;
    for (int i = thread; i < extents.tile * packs; i += attention_threads) {
      const int row = i / packs, channel = i % packs * together;
      uint4 pack = make_uint4(0, 0, 0, 0);
      if (first + row < sequence && channel < extents.channels)
        pack = *reinterpret_cast<const uint4*>(rows.at(first + row) + channel);
      *reinterpret_cast<uint4*>(to + row * extents.stride + channel) = pack;
    }
    return;
  }
  for (int i = thread; i < extents.tile * extents.width; i += attention_threads) {
    const int row = i / extents.width, channel = i % extents.width;
    const bool there = first + row < sequence && channel < extents.channels;
    store(to + row * extents.stride + channel, there ? load(rows.at(first + row) + channel) : 0.0F);
  }
}

/// Zeros for sums over channels.
__device__ inline void clear_tile(float* sums, const TileExtents& extents) {
  for (int i = static_cast<int>(threadIdx.x); i < extents.tile * extents.float_stride; i += attention_threads)
    sums[i] = 0;
}

/// Sums over channels to positions [first, first + tile) of a head; row r is multiplied by factor(r).
template <typename T, typename Factor>
__device__ void store_tile(const float* sums, const TileExtents& extents, const HeadRows<T>& rows, std::int64_t first,
                           std::int64_t sequence, Factor&& factor) {
  for (int i = static_cast<int>(threadIdx.x); i < extents.tile * extents.width; i += attention_threads) {
    const int row = i / extents.width, channel = i % extents.width;
    if (first + row < sequence && channel < extents.channels)
      store(rows.at(first + row) + channel, sums[row * extents.float_stride + channel] * factor(row));
  }
}

// ---- Dropout ------------------------------------------------------------------------------------------------------

/// One bit for each key and row of a tile of probabilities: kept. Made once for each tile, 8 keys from one counter.
struct TileMask {
  std::uint8_t* kept;  ///< [tile, tile / 8]
  int stride;          ///< tile / 8

  __device__ float factor(int row, int key, float scale) const {
    return kept[row * stride + key / 8] >> (key % 8) & 1 ? scale : 0.0F;
  }
};

__device__ inline void make_mask(const TileMask& mask, const TileExtents& extents, const DropoutSite& dropout,
                                 std::uint64_t sample, std::int64_t head, std::int64_t first_query,
                                 std::int64_t first_key) {
  for (int i = static_cast<int>(threadIdx.x); i < extents.tile * mask.stride; i += attention_threads) {
    const int row = i / mask.stride, block = i % mask.stride;
    const PackedDropoutBits bits =
        attention_dropout_bits_on_device(dropout.key, sample, head, first_query + row, first_key / 8 + block);
    unsigned kept = 0;
#pragma unroll
    for (int key = 0; key < 8; ++key) kept |= (bits.of(key) < dropout.threshold ? 0U : 1U) << key;
    mask.kept[i] = static_cast<std::uint8_t>(kept);
  }
}

// ---- Products of tiles --------------------------------------------------------------------------------------------

/// The layout of a matrix in shared memory: by rows, or by columns (the transpose of an array of rows).
enum class Order { rows, columns };

template <typename T>
struct TileMatrix {
  const T* data;
  int stride;
};

/// sums [rows, columns] (+)= A [rows, steps] B [steps, columns], by all threads of the block; extents are multiples of
/// 16. The caller synchronizes before and after.
template <Order a_order, Order b_order>
__device__ void multiply_tiles(const TileMatrix<__nv_bfloat16>& a, const TileMatrix<__nv_bfloat16>& b, float* sums,
                               int sums_stride, int rows, int columns, int steps, bool accumulate) {
  using namespace nvcuda;
  using LayoutA = std::conditional_t<a_order == Order::rows, wmma::row_major, wmma::col_major>;
  using LayoutB = std::conditional_t<b_order == Order::rows, wmma::row_major, wmma::col_major>;
  const int parts = columns / 16;
  for (int part = static_cast<int>(threadIdx.x) / 32; part < rows / 16 * parts; part += attention_warps) {
    const int row = part / parts * 16, column = part % parts * 16;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    float* place = sums + row * sums_stride + column;
    if (accumulate)
      wmma::load_matrix_sync(sum, place, static_cast<unsigned>(sums_stride), wmma::mem_row_major);
    else
      wmma::fill_fragment(sum, 0.0F);
    for (int step = 0; step < steps; step += 16) {
      wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, LayoutA> a_part;
      wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, LayoutB> b_part;
      const int a_offset = a_order == Order::rows ? row * a.stride + step : step * a.stride + row;
      const int b_offset = b_order == Order::rows ? step * b.stride + column : column * b.stride + step;
      wmma::load_matrix_sync(a_part, a.data + a_offset, static_cast<unsigned>(a.stride));
      wmma::load_matrix_sync(b_part, b.data + b_offset, static_cast<unsigned>(b.stride));
      wmma::mma_sync(sum, a_part, b_part, sum);
    }
    wmma::store_matrix_sync(place, sum, static_cast<unsigned>(sums_stride), wmma::mem_row_major);
  }
}

/// The same in float32: a thread computes up to 4 x 4 sums at once, 16 rows and 16 columns apart.
template <Order a_order, Order b_order>
__device__ void multiply_tiles(const TileMatrix<float>& a, const TileMatrix<float>& b, float* sums, int sums_stride,
                               int rows, int columns, int steps, bool accumulate) {
  constexpr int side = 4;
  const int thread_row = static_cast<int>(threadIdx.x) / 16, thread_column = static_cast<int>(threadIdx.x) % 16;
  const int a_row_stride = a_order == Order::rows ? a.stride : 1, a_step_stride = a_order == Order::rows ? 1 : a.stride;
  const int b_column_stride = b_order == Order::rows ? 1 : b.stride;
  const int b_step_stride = b_order == Order::rows ? b.stride : 1;
  for (int first_row = 0; first_row < rows; first_row += 16 * side)
    for (int first_column = 0; first_column < columns; first_column += 16 * side) {
      // Beyond the edge the first row or column is computed again, and the result is discarded.
      const float* a_at[side];
      const float* b_at[side];
#pragma unroll
      for (int i = 0; i < side; ++i) {
        const int row = first_row + thread_row + 16 * i, column = first_column + thread_column + 16 * i;
        a_at[i] = a.data + (row < rows ? row : thread_row) * a_row_stride;
        b_at[i] = b.data + (column < columns ? column : thread_column) * b_column_stride;
      }
      float sum[side][side] = {};
#pragma unroll 4
      for (int step = 0; step < steps; ++step) {
        float b_values[side];
#pragma unroll
        for (int j = 0; j < side; ++j) b_values[j] = b_at[j][step * b_step_stride];
#pragma unroll
        for (int i = 0; i < side; ++i) {
          const float a_value = a_at[i][step * a_step_stride];
#pragma unroll
          for (int j = 0; j < side; ++j) sum[i][j] = fmaf(a_value, b_values[j], sum[i][j]);
        }
      }
#pragma unroll
      for (int i = 0; i < side; ++i)
#pragma unroll
        for (int j = 0; j < side; ++j) {
          const int row = first_row + thread_row + 16 * i, column = first_column + thread_column + 16 * j;
          if (row >= rows || column >= columns) continue;
          float& place = sums[row * sums_stride + column];
          place = accumulate ? place + sum[i][j] : sum[i][j];
        }
    }
}

// ---- Rows of scores -----------------------------------------------------------------------------------------------

/// Most columns of a tile that one lane holds of a row.
inline constexpr int keys_of_a_lane = 2;

__device__ inline float greatest_of_warp(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(every_lane, value, distance));
  return value;
}

/// Calls the kernel for every tile of so many heads of every sample; it takes (Arguments, extents).
template <typename Arguments>
void launch_tiles(Queue& queue, void (*kernel)(Arguments, TileExtents), const Arguments& arguments, std::int64_t heads,
                  const TileExtents& extents, std::size_t bytes) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t tiles = (shape.sequence + extents.tile - 1) / extents.tile;
  const std::int64_t blocks = tiles * shape.samples * heads;
  ensure(shape.sequence < (std::int64_t{1} << 31) - 64 && blocks < (std::int64_t{1} << 31),
         "attention: too many tiles for one kernel launch");
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  kernel<<<static_cast<unsigned>(blocks), attention_threads, bytes, stream_of(queue)>>>(arguments, extents);
  check_launch();
}

}  // namespace penstock::ops
