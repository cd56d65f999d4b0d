// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.hpp"

#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

template <typename From, typename To>
__global__ void cast_elements(const From* from, To* to, std::int64_t n, bool aligned) {
  const std::int64_t first = grid_thread() * eight;
  if (first >= n) return;
  store_eight(to + first, load_eight(from + first, n - first, aligned), n - first, aligned);
}

/// Bytes up to the first 16-byte boundary, whole groups of 16, and the bytes after them. Each thread handles one group
/// of 16, counted from the boundary at or before `to`.
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

}  // namespace penstock::ops
