// SPDX-License-Identifier: Apache-2.0
#include "ops/layer_norm.hpp"

#include <cmath>

#include "ops/reference/dropout_factor.hpp"
#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

void layer_norm(const ops::LayerNorm& arguments) {
  const std::int64_t R = arguments.x.shape()[0], C = arguments.x.shape()[1];
  const Values x = read(arguments.x), weight = read(arguments.weight), bias = read(arguments.bias);
  Values y(at(R * C)), mean(at(R)), rstd(at(R));
  for (std::int64_t r = 0; r < R; ++r) {
    double sum = 0, squares = 0;
    for (std::int64_t c = 0; c < C; ++c) sum += x[at(r, c, C)];
    mean[at(r)] = sum / static_cast<double>(C);
    for (std::int64_t c = 0; c < C; ++c) squares += std::pow(x[at(r, c, C)] - mean[at(r)], 2);
    rstd[at(r)] = 1 / std::sqrt(squares / static_cast<double>(C) + static_cast<double>(ops::layer_norm_epsilon));
    for (std::int64_t c = 0; c < C; ++c)
      y[at(r, c, C)] = (x[at(r, c, C)] - mean[at(r)]) * rstd[at(r)] * weight[at(c)] + bias[at(c)];
  }
  write(arguments.y, y);
  write(arguments.mean, mean);
  write(arguments.rstd, rstd);
}

void residual(const ops::Residual& arguments) {
  const std::int64_t R = arguments.branch.shape()[0], C = arguments.branch.shape()[1];
  const Values stream = read_or_zeros(arguments.residual, R * C);
  const Values branch = read(arguments.branch), bias = read_or_zeros(arguments.bias, C);
  Values out(at(R * C));
  for (std::int64_t r = 0; r < R; ++r)
    for (std::int64_t c = 0; c < C; ++c)
      out[at(r, c, C)] = stream[at(r, c, C)] +
                         (branch[at(r, c, C)] + bias[at(c)]) * dropout_factor(arguments.dropout, arguments.rows, r, c);
  write(arguments.out, out);
}

void residual_layer_norm(const ops::ResidualLayerNorm& arguments) {
  residual(arguments.residual);
  ops::LayerNorm norm = arguments.norm;
  norm.x = arguments.residual.out;
  layer_norm(norm);
}

void layer_norm_gradient(const ops::LayerNormGradient& arguments) {
  const std::int64_t R = arguments.x.shape()[0], C = arguments.x.shape()[1];
  const Values dy = read(arguments.dy), x = read(arguments.x), weight = read(arguments.weight);
  const Values mean = read(arguments.mean), rstd = read(arguments.rstd);
  Values dx = read_or_zeros(arguments.residual_gradient, R * C);
  Values dweight(at(C)), dbias(at(C));
  if (arguments.accumulate) dweight = read(arguments.dweight), dbias = read(arguments.dbias);
  for (std::int64_t r = 0; r < R; ++r) {
    // With z = (x - mean) rstd and g = dy weight: dx = rstd (g - average(g) - z average(g z)).
    Values z(at(C)), g(at(C));
    double sum_g = 0, sum_gz = 0;
    for (std::int64_t c = 0; c < C; ++c) {
      z[at(c)] = (x[at(r, c, C)] - mean[at(r)]) * rstd[at(r)];
      g[at(c)] = dy[at(r, c, C)] * weight[at(c)];
      sum_g += g[at(c)];
      sum_gz += g[at(c)] * z[at(c)];
      dweight[at(c)] += dy[at(r, c, C)] * z[at(c)];
      dbias[at(c)] += dy[at(r, c, C)];
    }
    const auto channels = static_cast<double>(C);
    for (std::int64_t c = 0; c < C; ++c)
      dx[at(r, c, C)] += rstd[at(r)] * (g[at(c)] - sum_g / channels - z[at(c)] * sum_gz / channels);
  }
  write(arguments.dx, dx);
  write(arguments.dweight, dweight);
  write(arguments.dbias, dbias);
}

void dropout_gradient(const ops::DropoutGradient& arguments) {
  const std::int64_t R = arguments.dout.shape()[0], C = arguments.dout.shape()[1];
  Values gradient = read(arguments.dout);
  for (std::int64_t r = 0; r < R; ++r)
    for (std::int64_t c = 0; c < C; ++c)
      gradient[at(r, c, C)] *= dropout_factor(arguments.dropout, arguments.rows, r, c);
  write(arguments.dbranch, gradient);
}

}  // namespace penstock::reference
