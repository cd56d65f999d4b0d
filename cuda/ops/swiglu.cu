// SPDX-License-Identifier: Apache-2.0
#include "ops/swiglu.hpp"

#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

/// 1 / (1 + e^-x); 0 and 1 far from zero, where the exponential is infinite or zero.
__device__ float logistic(float x) { return 1.0F / (1.0F + expf(-x)); }

/// Each thread handles 8 channels of one row. Rows are walked from the last to the first: the end of what the product
/// before wrote is still in the L2 cache, and the next product begins with what is written last.
template <typename T>
__global__ void __launch_bounds__(block_threads)
    gate_rows(const T* gate_up, T* y, std::int64_t rows, std::int64_t channels, bool aligned) {
  const PlaceInRow place = place_of_thread(parts_of(channels, eight));
  const std::int64_t r = rows - 1 - place.row, c = place.block * eight, left = channels - c;
  if (r < 0) return;
  const T* gate = gate_up + r * 2 * channels + c;
  Eight values = load_eight(gate, left, aligned);
  const Eight up = load_eight(gate + channels, left, aligned);
#pragma unroll
  for (int i = 0; i < eight; ++i) values[i] = values[i] * logistic(values[i]) * up[i];
  store_eight(y + r * channels + c, values, left, aligned);
}

template <typename T>
__global__ void __launch_bounds__(block_threads)
    gate_gradient_rows(const T* gate_up, const T* dy, T* dgate_up, std::int64_t rows, std::int64_t channels,
                       bool aligned) {
  const PlaceInRow place = place_of_thread(parts_of(channels, eight));
  const std::int64_t r = rows - 1 - place.row, c = place.block * eight, left = channels - c;
  if (r < 0) return;
  const std::int64_t at = r * 2 * channels + c;
  const Eight gate = load_eight(gate_up + at, left, aligned);
  const Eight up = load_eight(gate_up + at + channels, left, aligned);
  const Eight slope = load_eight(dy + r * channels + c, left, aligned);
  Eight dgate, dup;
#pragma unroll
  for (int i = 0; i < eight; ++i) {
    const float s = logistic(gate[i]);
    dgate[i] = slope[i] * up[i] * s * (1.0F + gate[i] * (1.0F - s));
    dup[i] = slope[i] * gate[i] * s;
  }
  store_eight(dgate_up + at, dgate, left, aligned);
  store_eight(dgate_up + at + channels, dup, left, aligned);
}

}  // namespace

void swiglu(Queue& queue, const Swiglu& arguments) {
  const TensorView &gate_up = arguments.gate_up, &y = arguments.y;
  ensure(gate_up.elements() == 2 * y.elements() && gate_up.type() == y.type(),
         "swiglu: gate_up is not of twice the size of y, or of another type");
  if (y.elements() == 0) return;
  const std::int64_t rows = y.shape()[0], channels = y.shape()[1];
  const bool aligned = rows_are_aligned(channels, eight, {gate_up.raw(), y.raw()});
  with_device_type(y.type(), [&]<typename T>(T) {
    gate_rows<<<grid_of(rows * parts_of(channels, eight)), block_threads, 0, stream_of(queue)>>>(
        device_data<const T>(gate_up), device_data<T>(y), rows, channels, aligned);
    check_launch();
  });
}

void swiglu_gradient(Queue& queue, const SwigluGradient& arguments) {
  const TensorView &gate_up = arguments.gate_up, &dy = arguments.dy, &dgate_up = arguments.dgate_up;
  ensure(gate_up.elements() == 2 * dy.elements() && dgate_up.elements() == 2 * dy.elements() &&
             gate_up.type() == dy.type() && dgate_up.type() == dy.type(),
         "swiglu_gradient: gate_up or dgate_up is not of twice the size of dy, or of another type");
  if (dy.elements() == 0) return;
  const std::int64_t rows = dy.shape()[0], channels = dy.shape()[1];
  const bool aligned = rows_are_aligned(channels, eight, {gate_up.raw(), dy.raw(), dgate_up.raw()});
  with_device_type(dy.type(), [&]<typename T>(T) {
    gate_gradient_rows<<<grid_of(rows * parts_of(channels, eight)), block_threads, 0, stream_of(queue)>>>(
        device_data<const T>(gate_up), device_data<const T>(dy), device_data<T>(dgate_up), rows, channels, aligned);
    check_launch();
  });
}

}  // namespace penstock::ops
