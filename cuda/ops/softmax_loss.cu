#include "ops/softmax_loss.hpp"

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

/// The greatest of the logits seen so far, and the sum of exp(logit - greatest) over them.
struct RunningSum {
  float greatest = -infinity;
  float sum = 0;

  /// What the sum becomes when `to` takes the place of the greatest; an empty one stays empty.
  __device__ float scaled(float to) const { return sum == 0 ? sum : sum * expf(greatest - to); }

  __device__ void add(const Eight& logits, std::int64_t count) {
    float of_these = greatest;
#pragma unroll
    for (int i = 0; i < eight; ++i)
      if (i < count) of_these = fmaxf(of_these, logits[i]);
    const float origin = of_these == -infinity ? 0.0F : of_these;  // -infinity less itself is not a number
    sum = scaled(origin);
    greatest = of_these;
#pragma unroll
    for (int i = 0; i < eight; ++i)
      if (i < count) sum += expf(logits[i] - origin);
  }
};

/// One block one row, which is read once.
template <typename T>
__global__ void reduce_rows(const T* all_logits, const std::int32_t* targets, std::int64_t width,
                            std::int64_t first_token, std::int64_t columns, float* statistics, bool aligned) {
  const std::int64_t n = blockIdx.x;
  const T* logits = all_logits + n * width;
  RunningSum own;
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

/// One thread one row.
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

/// One block one row.
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
    Eight values = load_eight(logits + c, row.width - c, row.aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) {
      const float gradient = expf(values[i] - all.greatest) * factor;
      values[i] = c + i >= row.columns ? 0.0F : c + i == target ? gradient - row.scale : gradient;
    }
    store_eight(logits + c, values, row.width - c, row.aligned);
  }
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

}  // namespace penstock::ops
