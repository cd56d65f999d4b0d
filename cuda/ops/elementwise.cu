#include "ops/elementwise.hpp"

#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

constexpr std::int64_t norm_block = 4096;

template <typename From, typename To>
__global__ void cast_elements(const From* from, To* to, std::int64_t n, bool aligned) {
  const std::int64_t first = grid_thread() * eight;
  if (first >= n) return;
  store_eight(to + first, load_eight(from + first, n - first, aligned), n - first, aligned);
}

/// Bytes up to the first 16-byte boundary, whole groups of 16, and the bytes behind them: one thread one group of 16,
/// counted from the boundary at or before `to`.
__global__ void zero_bytes(std::byte* to, std::int64_t bytes, std::int64_t offset) {
  const std::int64_t first = grid_thread() * 16 - offset;
  if (first >= bytes) return;
  if (first >= 0 && first + 16 <= bytes) {
    *reinterpret_cast<uint4*>(to + first) = make_uint4(0, 0, 0, 0);
    return;
  }
  for (std::int64_t i = first; i < first + 16; ++i)
    if (i >= 0 && i < bytes) to[i] = std::byte{0};
}

/// sums[b] = the sum of squares of elements [4096 b, 4096 b + 4096).
__global__ void squares_of_blocks(const float* from, std::int64_t n, double* sums) {
  const std::int64_t begin = blockIdx.x * norm_block;
  const std::int64_t end = begin + norm_block < n ? begin + norm_block : n;
  double sum = 0;
#pragma unroll 4
  for (std::int64_t i = begin + threadIdx.x; i < end; i += block_threads) {
    const auto value = static_cast<double>(from[i]);
    sum += value * value;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void add_sums_of_blocks(const double* sums, std::int64_t n, double* to) {
  const double sum = sum_in_order(sums, n);
  if (threadIdx.x == 0) *to += sum;
}

}  // namespace

void cast(Queue& queue, TensorView from, TensorView to) {
  ensure(from.elements() == to.elements(), "cast: another number of elements");
  const std::int64_t n = from.elements();
  if (n == 0) return;
  const bool aligned = rows_are_aligned(eight, eight, {from.raw(), to.raw()});
  with_device_type(from.type(), [&]<typename From>(From) {
    with_device_type(to.type(), [&]<typename To>(To) {
      cast_elements<<<grid_of(n, eight * block_threads), block_threads, 0, stream_of(queue)>>>(
          device_data<From>(from), device_data<To>(to), n, aligned);
      check_launch();
    });
  });
}

void zero(Queue& queue, TensorView tensor) {
  const auto bytes = static_cast<std::int64_t>(tensor.bytes());
  if (bytes == 0) return;
  const auto offset = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16);
  zero_bytes<<<grid_of(bytes + offset, 16 * block_threads), block_threads, 0, stream_of(queue)>>>(
      static_cast<std::byte*>(tensor.raw()), bytes, offset);
  check_launch();
}

void add_squared_norm(Queue& queue, TensorView tensor, double* sum) {
  const std::int64_t n = tensor.elements();
  if (n == 0) return;
  const std::int64_t blocks = parts_of(n, norm_block);
  auto* sums = reinterpret_cast<double*>(queue.workspace(squared_norm_workspace(n)));
  squares_of_blocks<<<grid_of(n, norm_block), block_threads, 0, stream_of(queue)>>>(tensor.data<float>(), n, sums);
  check_launch();
  add_sums_of_blocks<<<1, block_threads, 0, stream_of(queue)>>>(sums, blocks, sum);
  check_launch();
}

std::size_t squared_norm_workspace(std::int64_t elements) {
  return static_cast<std::size_t>(parts_of(elements, norm_block)) * sizeof(double);
}

}  // namespace penstock::ops
