#pragma once
// What the kernels of all operations share: element types, loads and stores as float32, sums over the threads of a warp
// or a block in an order that is always the same, and grid sizes.

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

/// Calls f(float{}) or f(__nv_bfloat16{}), as the type says.
template <typename F>
void with_device_type(DType type, F&& f) {
  ensure(type == DType::float32 || type == DType::bfloat16, "an operation takes float32 or bfloat16 only");
  if (type == DType::float32)
    std::forward<F>(f)(float{});
  else
    std::forward<F>(f)(__nv_bfloat16{});
}

/// The elements of a view as kernels name them; null where the view is absent.
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

/// Threads of a block where nothing asks for another number.
inline constexpr int block_threads = 256;

/// Blocks of a grid in which `part` of n things fall to each.
inline unsigned grid_of(std::int64_t n, std::int64_t part = block_threads) {
  const std::int64_t blocks = parts_of(n, part);
  ensure(blocks <= std::numeric_limits<std::int32_t>::max(), "a tensor is too large for a grid of blocks");
  return static_cast<unsigned>(blocks);
}

/// A grid in two directions, of which only the first may be long.
inline dim3 grid_of_blocks(std::int64_t x, std::int64_t y) {
  ensure(y < 65536, "a matrix has too many columns for a grid of blocks");
  return {grid_of(x, 1), static_cast<unsigned>(y)};
}

/// The thread's number in the grid.
__device__ inline std::int64_t grid_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int lane_of_thread() { return static_cast<int>(threadIdx.x) % warp_threads; }
__device__ inline int warp_of_thread() { return static_cast<int>(threadIdx.x) / warp_threads; }

__device__ inline float load(const float* from) { return *from; }
__device__ inline float load(const __nv_bfloat16* from) { return __bfloat162float(*from); }
__device__ inline void store(float* to, float value) { *to = value; }
__device__ inline void store(__nv_bfloat16* to, float value) { *to = __float2bfloat16_rn(value); }

/// What is left of a value that is stored as T.
template <typename T>
__device__ float rounded(float value) {
  if constexpr (std::is_same_v<T, float>)
    return value;
  else
    return __bfloat162float(__float2bfloat16_rn(value));
}

/// Whether rows of `channels` elements, one behind the other from these addresses on, can be read in groups of `group`
/// elements that lie where a load of the whole group may. Absent tensors do not matter.
inline bool rows_are_aligned(std::int64_t channels, std::int64_t group, std::initializer_list<const void*> rows) {
  bool aligned = channels % group == 0;
  for (const void* row : rows) aligned = aligned && reinterpret_cast<std::uintptr_t>(row) % 16 == 0;
  return aligned;
}

/// Neighbours that one thread works on: as many as one counter of dropout covers.
inline constexpr int eight = 8;
struct Eight {
  float values[eight];

  __device__ float& operator[](int i) { return values[i]; }
  __device__ float operator[](int i) const { return values[i]; }
};

__device__ inline void load_aligned(const float* from, Eight& to) {
  const float4 low = reinterpret_cast<const float4*>(from)[0];
  const float4 high = reinterpret_cast<const float4*>(from)[1];
  to = {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}
__device__ inline void load_aligned(const __nv_bfloat16* from, Eight& to) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  const std::uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = __uint_as_float(words[i] << 16);
    to[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000U);
  }
}
__device__ inline void store_aligned(float* to, const Eight& from) {
  reinterpret_cast<float4*>(to)[0] = make_float4(from[0], from[1], from[2], from[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(from[4], from[5], from[6], from[7]);
}
__device__ inline void store_aligned(__nv_bfloat16* to, const Eight& from) {
  std::uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t low = __bfloat16_as_ushort(__float2bfloat16_rn(from[2 * i]));
    const std::uint32_t high = __bfloat16_as_ushort(__float2bfloat16_rn(from[2 * i + 1]));
    words[i] = low | high << 16;
  }
  *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
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
  __syncthreads();  // nobody reads an earlier sum's numbers any more
  if (lane_of_thread() == 0) of_warps[warp_of_thread()] = of_warp;
  __syncthreads();
  T sum = 0;
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / warp_threads; ++warp) sum += of_warps[warp];
  return sum;
}

/// The greatest number of a block's threads, for all of them; what is not a number is passed over.
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

/// The sum of n numbers in double, one after the other; thread 0 of the block has it, and all its threads call this.
/// The others bring the numbers near, so that the adding waits for no memory.
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
