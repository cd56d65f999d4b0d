// SPDX-License-Identifier: Apache-2.0
#include "ops/noise.hpp"

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

/// A counter through the last steps of MurmurHash3 (public domain), as a number of [-1, 1).
template <typename T>
__global__ void __launch_bounds__(block_threads) write_noise(T* to, std::int64_t n) {
  const std::int64_t i = grid_thread();
  if (i >= n) return;
  std::uint32_t bits = static_cast<std::uint32_t>(i) * 0x9e3779b9U;
  bits = (bits ^ bits >> 16) * 0x85ebca6bU;
  bits = (bits ^ bits >> 13) * 0xc2b2ae35U;
  bits ^= bits >> 16;
  store(to + i, static_cast<float>(static_cast<std::int32_t>(bits)) * 0x1p-31F);
}

}  // namespace

void fill_with_noise(Queue& queue, const TensorView& tensor) {
  const std::int64_t n = tensor.elements();
  if (n == 0) return;
  with_device_type(tensor.type(), [&]<typename T>(T) {
    write_noise<T><<<grid_of(n), block_threads, 0, stream_of(queue)>>>(device_data<T>(tensor), n);
    check_launch();
  });
}

}  // namespace penstock::ops
