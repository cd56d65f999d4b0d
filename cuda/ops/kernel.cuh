// SPDX-License-Identifier: Apache-2.0
#pragma once
// Shared by the kernels of all operations: element types, loads and stores as float32, sums over the threads of a warp
// or a block in a fixed order, and grid sizes.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <type_traits>
#include <utility>

#include "device/backend.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// Calls f(float{}) or f(__nv_bfloat16{}), by type.
template <typename F>
void with_device_type(DType type, F&& f) {
  ensure(type == DType::float32 || type == DType::bfloat16, "an operation takes float32 or bfloat16 only");
  if (type == DType::float32)
    std::forward<F>(f)(float{});
  else
    std::forward<F>(f)(__nv_bfloat16{});
}

/// The elements of a view in the kernels' type; null if the view is absent.
template <typename T>
T* device_data(const TensorView& view) {
  if (!view.present()) return nullptr;
  if constexpr (std::is_same_v<std::remove_const_t<T>, __nv_bfloat16>)
    return reinterpret_cast<T*>(view.data<bfloat16>());
  else
    return view.data<std::remove_const_t<T>>();
}

constexpr std::int64_t parts_of(std::int64_t n, std::int64_t part) { return (n + part - 1) / part; }

inline constexpr int warp_threads = 32;
inline constexpr unsigned every_lane = 0xffffffffU;

/// The default number of threads of a block.
inline constexpr int block_threads = 256;

/// Blocks of a grid in which each gets `part` of n things.
inline unsigned grid_of(std::int64_t n, std::int64_t part = block_threads) {
  const std::int64_t blocks = parts_of(n, part);
  ensure(blocks <= std::numeric_limits<std::int32_t>::max(), "a tensor is too large for a grid of blocks");
  return static_cast<unsigned>(blocks);
}

/// A grid in two directions; only the first may be long.
inline dim3 grid_of_blocks(std::int64_t x, std::int64_t y) {
  ensure(y < 65536, "a matrix has too many columns for a grid of blocks");
  return {grid_of(x, 1), static_cast<unsigned>(y)};
}

/// The thread's number in the grid.
__device__ inline std::int64_t grid_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// The row and the 8 neighbours of this thread, if a row has this many groups of 8.
struct PlaceInRow {
  std::int64_t row;
  std::int64_t block;
};
__device__ inline PlaceInRow place_of_thread(std::int64_t blocks) {
  const std::int64_t thread = grid_thread();
  if ((thread | blocks) >> 32 != 0) return {thread / blocks, thread % blocks};
  const auto short_thread = static_cast<std::uint32_t>(thread), short_blocks = static_cast<std::uint32_t>(blocks);
  return {short_thread / short_blocks,
          short_thread % short_blocks};  // a division in 64 bits costs a hundred instructions
}

__device__ inline int lane_of_thread() { return static_cast<int>(threadIdx.x) % warp_threads; }
__device__ inline int warp_of_thread() { return static_cast<int>(threadIdx.x) / warp_threads; }

__device__ inline float load(const float* from) { return *from; }
__device__ inline float load(const __nv_bfloat16* from) { return __bfloat162float(*from); }
__device__ inline void store(float* to, float value) { *to = value; }
__device__ inline void store(__nv_bfloat16* to, float value) { *to = __float2bfloat16_rn(value); }

/// The value after rounding to T.
template <typename T>
__device__ float rounded(float value) {
  if constexpr (std::is_same_v<T, float>)
    return value;
  else
    return __bfloat162float(__float2bfloat16_rn(value));
}

/// Whether consecutive rows of `channels` elements at these addresses can be read in groups of `group` elements, each
/// aligned for one load. Absent tensors do not matter.
inline bool rows_are_aligned(std::int64_t channels, std::int64_t group, std::initializer_list<const void*> rows) {
  bool aligned = channels % group == 0;
  for (const void* row : rows) aligned = aligned && reinterpret_cast<std::uintptr_t>(row) % 16 == 0;
  return aligned;
}

/// Neighbours of one thread: as many as one counter of dropout covers.
inline constexpr int eight = 8;
struct Eight {
  float values[eight];

  __device__ float& operator[](int i) { return values[i]; }
  __device__ float operator[](int i) const { return values[i]; }
};

/// Eight neighbours in their stored type: bfloat16 takes half the registers.
template <typename T>
struct alignas(16) PackedEight {
  static constexpr int parts = eight * sizeof(T) / sizeof(uint4);
  uint4 words[parts];
};

__device__ inline Eight unpack(const PackedEight<float>& from) {
  const auto as_float = [](std::uint32_t word) { return __uint_as_float(word); };
  const uint4 low = from.words[0], high = from.words[1];
  return {{as_float(low.x), as_float(low.y), as_float(low.z), as_float(low.w), as_float(high.x), as_float(high.y),
           as_float(high.z), as_float(high.w)}};
}
__device__ inline Eight unpack(const PackedEight<__nv_bfloat16>& from) {
  const std::uint32_t words[4] = {from.words[0].x, from.words[0].y, from.words[0].z, from.words[0].w};
  Eight to;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = __uint_as_float(words[i] << 16);
    to[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000U);
  }
  return to;
}

template <typename T>
__device__ PackedEight<T> pack(const Eight& from) {
  std::uint32_t words[4 * PackedEight<T>::parts];
#pragma unroll
  for (int i = 0; i < 4 * PackedEight<T>::parts; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      words[i] = __float_as_uint(from[i]);
    } else {
      const __nv_bfloat162 two = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
      words[i] = __bfloat16_as_ushort(two.x) | static_cast<std::uint32_t>(__bfloat16_as_ushort(two.y)) << 16;
    }
  }
  PackedEight<T> to;
#pragma unroll
  for (int i = 0; i < PackedEight<T>::parts; ++i)
    to.words[i] = make_uint4(words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
  return to;
}

template <typename T>
__device__ PackedEight<T> load_packed_aligned(const T* from) {
  PackedEight<T> to;
#pragma unroll
  for (int i = 0; i < PackedEight<T>::parts; ++i) to.words[i] = reinterpret_cast<const uint4*>(from)[i];
  return to;
}
template <typename T>
__device__ void store_packed_aligned(T* to, const PackedEight<T>& from) {
#pragma unroll
  for (int i = 0; i < PackedEight<T>::parts; ++i) reinterpret_cast<uint4*>(to)[i] = from.words[i];
}

/// Eight neighbours, of which `count` exist; the others are zero. For rows that are not aligned.
template <typename T>
__device__ PackedEight<T> load_packed_singly(const T* from, std::int64_t count) {
  Eight values;
#pragma unroll
  for (int i = 0; i < eight; ++i) values[i] = i < count ? load(from + i) : 0.0F;
  return pack<T>(values);
}

template <typename T>
__device__ void load_aligned(const T* from, Eight& to) {
  to = unpack(load_packed_aligned(from));
}
template <typename T>
__device__ void store_aligned(T* to, const Eight& from) {
  store_packed_aligned(to, pack<T>(from));
}

/// Eight neighbours, of which `count` exist; the others read as zero.
template <typename T>
__device__ Eight load_eight(const T* from, std::int64_t count, bool aligned) {
  Eight to;
  if (aligned && count >= eight) {
    load_aligned(from, to);
    return to;
  }
#pragma unroll
  for (int i = 0; i < eight; ++i) to[i] = i < count ? load(from + i) : 0.0F;
  return to;
}

/// Stores the first `count` of eight neighbours.
template <typename T>
__device__ void store_eight(T* to, const Eight& from, std::int64_t count, bool aligned) {
  if (aligned && count >= eight) {
    store_aligned(to, from);
    return;
  }
#pragma unroll
  for (int i = 0; i < eight; ++i)
    if (i < count) store(to + i, from[i]);
}

/// Four neighbours in their stored type. With float32 tensors involved, a warp's loads and stores of four have no gaps;
/// those of eight would.
inline constexpr int four = 4;
template <typename T>
struct alignas(four * sizeof(T)) PackedFour {
  std::uint32_t words[four * sizeof(T) / sizeof(std::uint32_t)];

  __device__ float operator[](int i) const {
    if constexpr (std::is_same_v<T, float>)
      return __uint_as_float(words[i]);
    else
      return __uint_as_float(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000U);
  }
};

template <typename T>
__device__ PackedFour<T> load_four(const T* from) {
  if constexpr (std::is_same_v<T, float>) {
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    return {{words.x, words.y, words.z, words.w}};
  } else {
    const uint2 words = *reinterpret_cast<const uint2*>(from);
    return {{words.x, words.y}};
  }
}

/// The first `count` of four neighbours; the others are zero.
template <typename T>
__device__ PackedFour<T> load_four_singly(const T* from, std::int64_t count) {
  std::uint32_t bits[four];
#pragma unroll
  for (int i = 0; i < four; ++i) bits[i] = i < count ? __float_as_uint(load(from + i)) : 0;
  if constexpr (std::is_same_v<T, float>)
    return {{bits[0], bits[1], bits[2], bits[3]}};
  else
    return {{bits[0] >> 16 | bits[1], bits[2] >> 16 | bits[3]}};
}

template <typename T>
__device__ PackedFour<T> load_four(const T* from, std::int64_t count, bool aligned) {
  return aligned && count >= four ? load_four(from) : load_four_singly(from, count);
}

/// Stores the first `count` of four neighbours.
template <typename T>
__device__ void store_four(T* to, const float (&from)[four], std::int64_t count, bool aligned) {
  if (aligned && count >= four) {
    if constexpr (std::is_same_v<T, float>) {
      *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
    } else {
      __nv_bfloat162 pairs[2] = {__floats2bfloat162_rn(from[0], from[1]), __floats2bfloat162_rn(from[2], from[3])};
      *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(pairs);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < four; ++i)
    if (i < count) store(to + i, from[i]);
}

/// The sum over the lanes of a warp, the same bits in each.
template <typename T>
__device__ T warp_sum(T value) {
#pragma unroll
  for (int distance = warp_threads / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(every_lane, value, distance);
  return value;
}

/// The sum over the threads of a block (a multiple of 32), for all of them: within warps, then warp after warp. All
/// threads call it.
template <typename T>
__device__ T block_sum(T value) {
  __shared__ T of_warps[warp_threads];
  const T of_warp = warp_sum(value);
  __syncthreads();  // nobody reads the numbers of an earlier sum any longer
  if (lane_of_thread() == 0) of_warps[warp_of_thread()] = of_warp;
  __syncthreads();
  T sum = 0;
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / warp_threads; ++warp) sum += of_warps[warp];
  return sum;
}

/// The greatest number of a block's threads, for all of them; NaN is ignored.
__device__ inline float block_maximum(float value) {
  __shared__ float of_warps[warp_threads];
#pragma unroll
  for (int distance = warp_threads / 2; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(every_lane, value, distance));
  __syncthreads();
  if (lane_of_thread() == 0) of_warps[warp_of_thread()] = value;
  __syncthreads();
  float greatest = of_warps[0];
  for (int warp = 1; warp < static_cast<int>(blockDim.x) / warp_threads; ++warp)
    greatest = fmaxf(greatest, of_warps[warp]);
  return greatest;
}

/// The sum of n numbers in double, one after the other; thread 0 of the block gets it, and all its threads call this.
/// The others prefetch the numbers, so that adding does not wait for memory.
template <typename T>
__device__ double sum_in_order(const T* numbers, std::int64_t n) {
  constexpr int numbers_at_once = 1024;
  __shared__ T near[numbers_at_once];
  double sum = 0;
  for (std::int64_t first = 0; first < n; first += numbers_at_once) {
    const int count = n - first < numbers_at_once ? static_cast<int>(n - first) : numbers_at_once;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x))
      near[i] = numbers[first + i];
    __syncthreads();
    if (threadIdx.x == 0) {
#pragma unroll 8
      for (int i = 0; i < count; ++i) sum += static_cast<double>(near[i]);
    }
    __syncthreads();
  }
  return sum;
}

}  // namespace penstock::ops
