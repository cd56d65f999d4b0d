// SPDX-License-Identifier: Apache-2.0
#include "ops/sum.hpp"

#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

/// Threads of the one block that adds all elements: each adds every 1024th, then the threads' sums are added.
constexpr int adding_threads = 1024;

__global__ void __launch_bounds__(adding_threads) add_all_elements(const float* elements, std::int64_t n, double* to) {
  double sum = 0;
#pragma unroll 8
  for (std::int64_t i = threadIdx.x; i < n; i += adding_threads) sum += static_cast<double>(elements[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) *to += sum;
}

__global__ void add_elements(const float* first, const float* second, float* out, std::int64_t n, bool aligned) {
  const std::int64_t begin = grid_thread() * eight;
  if (begin >= n) return;
  Eight sum = load_eight(first + begin, n - begin, aligned);
  const Eight other = load_eight(second + begin, n - begin, aligned);
#pragma unroll
  for (int i = 0; i < eight; ++i) sum[i] += other[i];
  store_eight(out + begin, sum, n - begin, aligned);
}

}  // namespace

void add_sum(Queue& queue, TensorView tensor, double* sum) {
  if (tensor.elements() == 0) return;
  add_all_elements<<<1, adding_threads, 0, stream_of(queue)>>>(tensor.data<float>(), tensor.elements(), sum);
  check_launch();
}

void add(Queue& queue, TensorView first, TensorView second, TensorView out) {
  ensure(first.elements() == second.elements() && first.elements() == out.elements(),
         "add: unequal numbers of elements");
  const std::int64_t n = out.elements();
  if (n == 0) return;
  const bool aligned = rows_are_aligned(eight, eight, {first.raw(), second.raw(), out.raw()});
  add_elements<<<grid_of(n, eight * block_threads), block_threads, 0, stream_of(queue)>>>(
      first.data<float>(), second.data<float>(), out.data<float>(), n, aligned);
  check_launch();
}

}  // namespace penstock::ops
