// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.hpp"

#include "ops/reference/gelu_value.hpp"
#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

void linear(const ops::Linear& arguments) {
  const std::int64_t N = arguments.x.shape()[0], K = arguments.x.shape()[1], M = arguments.weight.shape()[0];
  const Values x = read(arguments.x), weight = read(arguments.weight), bias = read_or_zeros(arguments.bias, M);
  Values u(at(N * M));
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t m = 0; m < M; ++m) {
      double sum = bias[at(m)];
      for (std::int64_t k = 0; k < K; ++k) sum += x[at(n, k, K)] * weight[at(m, k, K)];
      u[at(n, m, M)] = sum;
    }
  if (arguments.pre_activation.present()) {
    write(arguments.pre_activation, u);
    for (double& value : u) value = gelu(value);
  }
  write(arguments.y, u);
}

void linear_input_gradient(const ops::LinearInputGradient& arguments) {
  const std::int64_t N = arguments.dy.shape()[0], M = arguments.dy.shape()[1], K = arguments.weight.shape()[1];
  const Values dy = read(arguments.dy), weight = read(arguments.weight);
  Values dx(at(N * K));
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t m = 0; m < M; ++m)
      for (std::int64_t k = 0; k < K; ++k) dx[at(n, k, K)] += dy[at(n, m, M)] * weight[at(m, k, K)];
  if (arguments.pre_activation.present()) {
    const Values u = read(arguments.pre_activation);
    for (std::size_t i = 0; i < dx.size(); ++i) dx[i] *= gelu_derivative(u[i]);
  }
  write(arguments.dx, dx);
}

void linear_weight_gradient(const ops::LinearWeightGradient& arguments) {
  const std::int64_t N = arguments.dy.shape()[0], M = arguments.dy.shape()[1], K = arguments.x.shape()[1];
  const Values dy = read(arguments.dy), x = read(arguments.x);
  Values dweight(at(M * K)), dbias(at(M));
  if (arguments.accumulate) {
    dweight = read(arguments.dweight);
    dbias = read_or_zeros(arguments.dbias, M);
  }
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t m = 0; m < M; ++m) {
      dbias[at(m)] += dy[at(n, m, M)];
      for (std::int64_t k = 0; k < K; ++k) dweight[at(m, k, K)] += dy[at(n, m, M)] * x[at(n, k, K)];
    }
  write(arguments.dweight, dweight);
  if (arguments.dbias.present()) write(arguments.dbias, dbias);
}

}  // namespace penstock::reference
