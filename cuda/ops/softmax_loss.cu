// SPDX-License-Identifier: Apache-2.0
#include "ops/softmax_loss.hpp"

#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Threads of the block that works on one row of this width.
int threads_of_a_row(std::int64_t width) { return width >= 4096 ? 512 : 128; }

/// Column of a target on this rank, or -1.
__device__ std::int64_t local_column(std::int32_t target, std::int64_t first_token, std::int64_t columns) {
  const std::int64_t column = target - first_token;
  return column >= 0 && column < columns ? column : -1;
}

/// exp(x) for logits of type T, x <= 0. For bfloat16 logits the card's own power of two (2 ulp, and the rounding of x /
/// log 2) is a thousand times as exact as the logits.
template <typename T>
__device__ float exponential(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return expf(x);
  } else {
    constexpr float binary_digits_of_e = 1.4426950408889634F;
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * binary_digits_of_e));
    return power;
  }
}

/// The greatest of the logits seen so far, and the sum of exp(logit - greatest) over them.
template <typename T>
struct RunningSum {
  float greatest = -infinity;
  float sum = 0;

  /// The sum after `to` replaces the greatest; an empty one stays empty.
  __device__ float scaled(float to) const { return sum == 0 ? sum : sum * exponential<T>(greatest - to); }

  /// Adds the first `count` of eight logits.
  __device__ void add(const Eight& logits, std::int64_t count) {
    if (count >= eight)
      add_first(logits, eight);
    else
      add_first(logits, static_cast<int>(count));
  }
  __device__ void add_first(const Eight& logits, int count) {
    float of_these = greatest;
#pragma unroll
    for (int i = 0; i < eight; ++i)
      if (i < count) of_these = fmaxf(of_these, logits[i]);
    const float origin = of_these == -infinity ? 0.0F : of_these;  // -infinity minus itself is not a number
    sum = scaled(origin);
    greatest = of_these;
#pragma unroll
    for (int i = 0; i < eight; ++i)
      if (i < count) sum += exponential<T>(logits[i] - origin);
  }
};

/// Turns 8 logits into their gradient; `left` are real, and the target is the one numbered `target` if there is one.
template <typename T>
__device__ Eight gradient_of_eight(Eight logits, float greatest, float factor, float scale, std::int64_t left,
                                   std::int64_t target) {
#pragma unroll
  for (int i = 0; i < eight; ++i) logits[i] = exponential<T>(logits[i] - greatest) * factor;
  if (left >= eight && (target < 0 || target >= eight)) return logits;
#pragma unroll
  for (int i = 0; i < eight; ++i) logits[i] = i >= left ? 0.0F : i == target ? logits[i] - scale : logits[i];
  return logits;
}

/// Each block handles one row, which is read once.
template <typename T>
__global__ void reduce_rows(const T* all_logits, const std::int32_t* targets, std::int64_t width,
                            std::int64_t first_token, std::int64_t columns, float* statistics, bool aligned) {
  const std::int64_t n = blockIdx.x;
  const T* logits = all_logits + n * width;
  RunningSum<T> own;
  const std::int64_t stride = static_cast<std::int64_t>(blockDim.x) * eight;
  for (std::int64_t c = static_cast<std::int64_t>(threadIdx.x) * eight; c < columns; c += stride)
    own.add(load_eight(logits + c, columns - c, aligned), columns - c);
  const float greatest = block_maximum(own.greatest);
  const float sum = block_sum(own.scaled(greatest));
  if (threadIdx.x != 0) return;
  const std::int64_t target = local_column(targets[n], first_token, columns);
  statistics[3 * n] = greatest;
  statistics[3 * n + 1] = sum;
  statistics[3 * n + 2] = target < 0 ? 0.0F : load(logits + target);
}

struct CombinedStatistics {
  float greatest = -infinity;
  float sum = 0;
  float target = 0;
};

/// Statistics of row n from all ranks, in rank order.
__device__ CombinedStatistics combine(const float* statistics, std::int64_t ranks, std::int64_t rows, std::int64_t n) {
  CombinedStatistics all;
  for (std::int64_t rank = 0; rank < ranks; ++rank)
    all.greatest = fmaxf(all.greatest, statistics[(rank * rows + n) * 3]);
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    const float* one = statistics + (rank * rows + n) * 3;
    all.sum += one[1] > 0 ? one[1] * expf(one[0] - all.greatest) : one[1];
    all.target += one[2];
  }
  return all;
}

__device__ float loss_of(const CombinedStatistics& all) { return logf(all.sum) + all.greatest - all.target; }

/// Each thread handles one row.
__global__ void losses_of_rows(const float* statistics, std::int64_t ranks, std::int64_t rows, float* loss) {
  const std::int64_t n = grid_thread();
  if (n < rows) loss[n] = loss_of(combine(statistics, ranks, rows, n));
}

/// SoftmaxLoss's tensors in a kernel.
template <typename T>
struct LossAndGradient {
  T* logits;
  const std::int32_t* targets;
  const float* statistics;
  float* loss;
  std::int64_t ranks;
  std::int64_t rows;
  std::int64_t width;
  std::int64_t first_token;
  std::int64_t columns;
  float scale;
  bool aligned;
};

/// Each block handles one row.
template <typename T>
__global__ void replace_rows_by_gradient(const LossAndGradient<T> row) {
  const std::int64_t n = blockIdx.x;
  const CombinedStatistics all = combine(row.statistics, row.ranks, row.rows, n);
  if (threadIdx.x == 0) row.loss[n] = loss_of(all);
  const float factor = row.scale / all.sum;
  const std::int64_t target = local_column(row.targets[n], row.first_token, row.columns);
  T* logits = row.logits + n * row.width;
  const std::int64_t stride = static_cast<std::int64_t>(blockDim.x) * eight;
  for (std::int64_t c = static_cast<std::int64_t>(threadIdx.x) * eight; c < row.width; c += stride) {
    const Eight values = load_eight(logits + c, row.width - c, row.aligned);
    store_eight(logits + c, gradient_of_eight<T>(values, all.greatest, factor, row.scale, row.columns - c, target - c),
                row.width - c, row.aligned);
  }
}

/// WholeSoftmaxLoss's tensors in a kernel.
template <typename T>
struct WholeRows {
  T* logits;
  const std::int32_t* targets;
  float* loss;
  int width;
  int columns;
  float scale;
  bool gradient;
  bool aligned;
};

/// Parts in which a row is loaded, so that the first is summed while the others are in flight.
constexpr int parts_of_a_row = 4;

/// Each block handles one row, walked from the last to the first: what the product before wrote last is still in the L2
/// cache, and the next product begins with what is written last. With `near` the row is loaded to shared memory and
/// stays there until it is replaced; each thread waits only for its own loads. Wider rows are read twice.
template <typename T, bool near>
__global__ void __launch_bounds__(512, 2) replace_whole_rows(const WholeRows<T> rows) {
  extern __shared__ uint4 row_memory[];
  auto* near_row = reinterpret_cast<PackedEight<T>*>(row_memory);
  const std::int64_t n = gridDim.x - 1 - blockIdx.x;
  T* logits = rows.logits + n * rows.width;
  const int stride = static_cast<int>(blockDim.x) * eight, begin = static_cast<int>(threadIdx.x) * eight;
  const int columns_of_a_part = static_cast<int>(parts_of(parts_of(rows.columns, stride), parts_of_a_row)) * stride;
  const auto end_of_part = [&](int part) {
    const int end = (part + 1) * columns_of_a_part;
    return end < rows.columns ? end : rows.columns;
  };
  if constexpr (near) {
#pragma unroll
    for (int part = 0; part < parts_of_a_row; ++part) {
      for (int c = part * columns_of_a_part + begin; c < end_of_part(part); c += stride) {
        if (rows.aligned) {
#pragma unroll
          for (int i = 0; i < PackedEight<T>::parts; ++i)
            __pipeline_memcpy_async(&near_row[c / eight].words[i], reinterpret_cast<const uint4*>(logits + c) + i,
                                    sizeof(uint4));
        } else {
          near_row[c / eight] = load_packed_singly(logits + c, rows.columns - c);
        }
      }
      __pipeline_commit();
    }
  }
  const auto target = static_cast<int>(local_column(rows.targets[n], 0, rows.columns));
  // Before anybody replaces it:
  const float target_logit = threadIdx.x == 0 && target >= 0 ? load(logits + target) : 0.0F;
  const auto logits_at = [&](int c) {
    if constexpr (near)
      return unpack(near_row[c / eight]);
    else
      return load_eight(logits + c, rows.columns - c, rows.aligned);
  };

  RunningSum<T> own;
#pragma unroll
  for (int part = 0; part < parts_of_a_row; ++part) {
    if constexpr (near) __pipeline_wait_prior(parts_of_a_row - 1 - part);
#pragma unroll 2
    for (int c = part * columns_of_a_part + begin; c < end_of_part(part); c += stride)
      own.add(logits_at(c), rows.columns - c);
  }
  const float greatest = block_maximum(own.greatest);
  const float sum = block_sum(own.scaled(greatest));
  if (threadIdx.x == 0) rows.loss[n] = loss_of({.greatest = greatest, .sum = sum, .target = target_logit});
  if (!rows.gradient) return;
  const float factor = rows.scale / sum;
#pragma unroll 2
  for (int c = begin; c < rows.width; c += stride) {
    const int left = rows.columns - c;
    const Eight values = left > 0 ? logits_at(c) : Eight{};
    store_eight(logits + c, gradient_of_eight<T>(values, greatest, factor, rows.scale, left, target - c),
                rows.width - c, rows.aligned);
  }
}

/// Shared memory in bytes that a block may have on this card.
int shared_bytes_of_a_block() {
  int device = 0, bytes = 0;
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return bytes;
}

template <typename T>
void launch(Queue& queue, std::int64_t count, const WholeRows<T>& rows) {
  constexpr std::int64_t own_bytes = 1024;  // what the kernel declares itself, and more
  const std::int64_t bytes = parts_of(rows.columns, eight) * static_cast<std::int64_t>(sizeof(PackedEight<T>));
  if (bytes + own_bytes <= shared_bytes_of_a_block()) {
    const auto shared_bytes = static_cast<int>(bytes);
    check_cuda(
        cudaFuncSetAttribute(replace_whole_rows<T, true>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
    replace_whole_rows<T, true>
        <<<grid_of(count, 1), threads_of_a_row(rows.width), shared_bytes, stream_of(queue)>>>(rows);
  } else {
    replace_whole_rows<T, false><<<grid_of(count, 1), threads_of_a_row(rows.width), 0, stream_of(queue)>>>(rows);
  }
  check_launch();
}

}  // namespace

void softmax_statistics(Queue& queue, const SoftmaxStatistics& arguments) {
  const std::int64_t rows = arguments.logits.shape()[0], width = arguments.logits.shape()[1];
  if (rows == 0) return;
  const bool aligned = rows_are_aligned(width, eight, {arguments.logits.raw()});
  with_device_type(arguments.logits.type(), [&]<typename T>(T) {
    reduce_rows<<<grid_of(rows, 1), threads_of_a_row(width), 0, stream_of(queue)>>>(
        device_data<const T>(arguments.logits), arguments.targets.data<std::int32_t>(), width, arguments.first_token,
        arguments.columns, arguments.statistics.data<float>(), aligned);
    check_launch();
  });
}

void softmax_loss(Queue& queue, const SoftmaxLoss& arguments) {
  const std::int64_t rows = arguments.logits.shape()[0], width = arguments.logits.shape()[1];
  if (rows == 0) return;
  const std::int64_t ranks = arguments.statistics.elements() / (rows * 3);
  if (!arguments.gradient) {
    losses_of_rows<<<grid_of(rows), block_threads, 0, stream_of(queue)>>>(arguments.statistics.data<float>(), ranks,
                                                                          rows, arguments.loss.data<float>());
    check_launch();
    return;
  }
  with_device_type(arguments.logits.type(), [&]<typename T>(T) {
    const LossAndGradient<T> row{.logits = device_data<T>(arguments.logits),
                                 .targets = arguments.targets.data<std::int32_t>(),
                                 .statistics = arguments.statistics.data<float>(),
                                 .loss = arguments.loss.data<float>(),
                                 .ranks = ranks,
                                 .rows = rows,
                                 .width = width,
                                 .first_token = arguments.first_token,
                                 .columns = arguments.columns,
                                 .scale = arguments.scale,
                                 .aligned = rows_are_aligned(width, eight, {arguments.logits.raw()})};
    replace_rows_by_gradient<<<grid_of(rows, 1), threads_of_a_row(width), 0, stream_of(queue)>>>(row);
    check_launch();
  });
}

void whole_softmax_loss(Queue& queue, const WholeSoftmaxLoss& arguments) {
  const std::int64_t rows = arguments.logits.shape()[0], width = arguments.logits.shape()[1];
  if (rows == 0) return;
  ensure(width <= std::numeric_limits<std::int32_t>::max() / 2, "whole_softmax_loss: too wide a row");
  with_device_type(arguments.logits.type(), [&]<typename T>(T) {
    launch<T>(queue, rows,
              {.logits = device_data<T>(arguments.logits),
               .targets = arguments.targets.data<std::int32_t>(),
               .loss = arguments.loss.data<float>(),
               .width = static_cast<int>(width),
               .columns = static_cast<int>(arguments.columns),
               .scale = arguments.scale,
               .gradient = arguments.gradient,
               .aligned = rows_are_aligned(width, eight, {arguments.logits.raw()})});
  });
}

}  // namespace penstock::ops
