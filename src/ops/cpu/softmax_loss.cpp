// SPDX-License-Identifier: Apache-2.0
#include "ops/softmax_loss.hpp"

#include <cmath>
#include <limits>

#include "base/fault.hpp"
#include "ops/cpu/parallel.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

template <typename T>
float greatest_logit(const T* logits, std::int64_t columns) {
  Floats greatest = splat(-infinity);
  for_vectors(columns, [&](std::int64_t c, auto part) {
    greatest = greater_of(fill_behind(load(logits + c, part), part, -infinity), greatest);
  });
  return greatest_of(greatest);
}

/// The sum of exp(logit - greatest).
template <typename T>
float sum_of_exponentials(const T* logits, std::int64_t columns, float greatest) {
  Floats sum{};
  for_vectors(columns, [&](std::int64_t c, auto part) {
    sum += fill_behind(exp_of(load(logits + c, part) - greatest), part, 0.0F);
  });
  return sum_of(sum);
}

/// Column of a target on this rank, or -1.
std::int64_t local_column(std::int32_t target, std::int64_t first_token, std::int64_t columns) {
  const std::int64_t column = target - first_token;
  return column >= 0 && column < columns ? column : -1;
}

struct CombinedStatistics {
  float greatest = -infinity;
  float sum = 0;
  float target = 0;
};

/// Statistics of row n from all ranks, in rank order.
CombinedStatistics combine(const float* statistics, std::int64_t ranks, std::int64_t rows, std::int64_t n) {
  CombinedStatistics all;
  for (std::int64_t rank = 0; rank < ranks; ++rank)
    all.greatest = std::max(all.greatest, statistics[(rank * rows + n) * 3]);
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    const float* one = statistics + (rank * rows + n) * 3;
    all.sum += one[1] > 0 ? one[1] * std::exp(one[0] - all.greatest) : one[1];
    all.target += one[2];
  }
  return all;
}

template <typename T>
void replace_by_gradient(T* logits, std::int64_t columns, std::int64_t width, std::int64_t target,
                         const CombinedStatistics& statistics, float scale) {
  const float factor = scale / statistics.sum;
  const float target_gradient =
      target < 0 ? 0 : exp_of(splat(static_cast<float>(logits[target]) - statistics.greatest))[0] * factor - scale;
  for_vectors(columns, [&](std::int64_t c, auto part) {
    store(logits + c, exp_of(load(logits + c, part) - statistics.greatest) * factor, part);
  });
  std::fill(logits + columns, logits + width, T(0.0F));
  if (target >= 0) logits[target] = T(target_gradient);
}

/// Statistics of one row of logits, of which the first `columns` are real.
template <typename T>
CombinedStatistics statistics_of(const T* logits, std::int64_t columns, std::int64_t target) {
  const float greatest = greatest_logit(logits, columns);
  return {.greatest = greatest,
          .sum = sum_of_exponentials(logits, columns, greatest),
          .target = target < 0 ? 0.0F : static_cast<float>(logits[target])};
}

float loss_of(const CombinedStatistics& all) { return std::log(all.sum) + all.greatest - all.target; }

}  // namespace

void softmax_statistics(Queue& queue, const SoftmaxStatistics& arguments) {
  const std::int64_t width = arguments.logits.shape()[1];
  const auto* targets = arguments.targets.data<std::int32_t>();
  float* statistics = arguments.statistics.data<float>();
  with_type(arguments.logits.type(), [&]<typename T>(T) {
    for_rows(queue, arguments.logits.shape()[0], [&](std::int64_t n) {
      const std::int64_t target = local_column(targets[n], arguments.first_token, arguments.columns);
      const CombinedStatistics own = statistics_of(arguments.logits.data<T>() + n * width, arguments.columns, target);
      statistics[3 * n] = own.greatest;
      statistics[3 * n + 1] = own.sum;
      statistics[3 * n + 2] = own.target;
    });
  });
}

void softmax_loss(Queue& queue, const SoftmaxLoss& arguments) {
  const std::int64_t rows = arguments.logits.shape()[0];
  const std::int64_t width = arguments.logits.shape()[1];
  const std::int64_t ranks = arguments.statistics.elements() / std::max<std::int64_t>(1, rows * 3);
  const auto* targets = arguments.targets.data<std::int32_t>();
  const float* statistics = arguments.statistics.data<float>();
  float* loss = arguments.loss.data<float>();
  with_type(arguments.logits.type(), [&]<typename T>(T) {
    for_rows(queue, rows, [&](std::int64_t n) {
      const CombinedStatistics all = combine(statistics, ranks, rows, n);
      loss[n] = loss_of(all);
      if (!arguments.gradient) return;
      const std::int64_t target = local_column(targets[n], arguments.first_token, arguments.columns);
      replace_by_gradient(arguments.logits.data<T>() + n * width, arguments.columns, width, target, all,
                          arguments.scale);
    });
  });
}

void whole_softmax_loss(Queue& queue, const WholeSoftmaxLoss& arguments) {
  const std::int64_t width = arguments.logits.shape()[1];
  const std::int64_t columns = planted(Fault::padding_in_loss) ? width : arguments.columns;
  const auto* targets = arguments.targets.data<std::int32_t>();
  float* loss = arguments.loss.data<float>();
  with_type(arguments.logits.type(), [&]<typename T>(T) {
    for_rows(queue, arguments.logits.shape()[0], [&](std::int64_t n) {
      T* logits = arguments.logits.data<T>() + n * width;
      const std::int64_t target = local_column(targets[n], 0, columns);
      const CombinedStatistics all = statistics_of(logits, columns, target);
      loss[n] = loss_of(all);
      if (arguments.gradient) replace_by_gradient(logits, columns, width, target, all, arguments.scale);
    });
  });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(softmax_statistics, SoftmaxStatistics)
PENSTOCK_OPERATION(softmax_loss, SoftmaxLoss)
PENSTOCK_OPERATION(whole_softmax_loss, WholeSoftmaxLoss)
