// SPDX-License-Identifier: Apache-2.0
#include "ops/gelu.hpp"

#include "ops/gelu.cuh"
#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

template <typename T>
__global__ void __launch_bounds__(block_threads) gelu_elements(const T* u, T* y, std::int64_t n, bool aligned) {
  const std::int64_t first = grid_thread() * eight;
  if (first >= n) return;
  Eight values = load_eight(u + first, n - first, aligned);
#pragma unroll
  for (int i = 0; i < eight; ++i) values[i] = gelu(values[i]);
  store_eight(y + first, values, n - first, aligned);
}

}  // namespace

void gelu(Queue& queue, const Gelu& arguments) {
  const TensorView &u = arguments.pre_activation, &y = arguments.y;
  ensure(u.elements() == y.elements() && u.type() == y.type(), "gelu: the tensors differ in size or type");
  const std::int64_t n = u.elements();
  if (n == 0) return;
  const bool aligned = rows_are_aligned(eight, eight, {u.raw(), y.raw()});
  with_device_type(u.type(), [&]<typename T>(T) {
    gelu_elements<<<grid_of(n, eight * block_threads), block_threads, 0, stream_of(queue)>>>(
        device_data<const T>(u), device_data<T>(y), n, aligned);
    check_launch();
  });
}

}  // namespace penstock::ops
