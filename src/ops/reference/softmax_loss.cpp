// SPDX-License-Identifier: Apache-2.0
#include "ops/softmax_loss.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

void softmax_statistics(const ops::SoftmaxStatistics& arguments) {
  const std::int64_t N = arguments.logits.shape()[0], V_local = arguments.logits.shape()[1];
  const Values logits = read(arguments.logits);
  const std::int32_t* targets = arguments.targets.data<std::int32_t>();
  Values statistics(at(N * 3));
  for (std::int64_t n = 0; n < N; ++n) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0, target = 0;
    for (std::int64_t v = 0; v < arguments.columns; ++v) largest = std::max(largest, logits[at(n, v, V_local)]);
    for (std::int64_t v = 0; v < arguments.columns; ++v) {
      sum += std::exp(logits[at(n, v, V_local)] - largest);
      if (arguments.first_token + v == targets[n]) target = logits[at(n, v, V_local)];
    }
    statistics[at(n, 0, 3)] = largest;
    statistics[at(n, 1, 3)] = sum;
    statistics[at(n, 2, 3)] = target;
  }
  write(arguments.statistics, statistics);
}

void softmax_loss(const ops::SoftmaxLoss& arguments) {
  const std::int64_t ranks = arguments.statistics.shape()[0], N = arguments.statistics.shape()[1];
  const std::int64_t V_local = arguments.logits.shape()[1];
  const Values statistics = read(arguments.statistics), logits = read(arguments.logits);
  const std::int32_t* targets = arguments.targets.data<std::int32_t>();
  Values loss(at(N)), gradient(at(N * V_local));
  for (std::int64_t n = 0; n < N; ++n) {
    const auto of_rank = [&](std::int64_t rank, int which) { return statistics[at(rank * N + n, which, 3)]; };
    double largest = -std::numeric_limits<double>::infinity(), sum = 0, target = 0;
    for (std::int64_t rank = 0; rank < ranks; ++rank) largest = std::max(largest, of_rank(rank, 0));
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      sum += of_rank(rank, 1) * std::exp(of_rank(rank, 0) - largest);
      target += of_rank(rank, 2);
    }
    const double log_sum_exp = largest + std::log(sum);
    loss[at(n)] = log_sum_exp - target;
    for (std::int64_t v = 0; v < arguments.columns; ++v) {
      const double one_hot = arguments.first_token + v == targets[n] ? 1 : 0;
      const double softmax = std::exp(logits[at(n, v, V_local)] - log_sum_exp);
      gradient[at(n, v, V_local)] = (softmax - one_hot) * static_cast<double>(arguments.scale);
    }
  }
  write(arguments.loss, loss);
  if (arguments.gradient) write(arguments.logits, gradient);
}

void whole_softmax_loss(const ops::WholeSoftmaxLoss& arguments) {
  const std::int64_t N = arguments.logits.shape()[0];
  Values statistics(at(N * 3));
  softmax_statistics({.logits = arguments.logits,
                      .targets = arguments.targets,
                      .first_token = 0,
                      .columns = arguments.columns,
                      .statistics = {statistics.data(), DType::float64, {N, 3}}});
  softmax_loss({.logits = arguments.logits,
                .targets = arguments.targets,
                .first_token = 0,
                .columns = arguments.columns,
                .statistics = {statistics.data(), DType::float64, {1, N, 3}},
                .loss = arguments.loss,
                .scale = arguments.scale,
                .gradient = arguments.gradient});
}

}  // namespace penstock::reference
