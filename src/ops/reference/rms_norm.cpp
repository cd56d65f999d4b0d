// SPDX-License-Identifier: Apache-2.0
#include "ops/rms_norm.hpp"

#include <cmath>

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

void rms_norm(const ops::RmsNorm& arguments) {
  const std::int64_t R = arguments.x.shape()[0], C = arguments.x.shape()[1];
  const Values x = read(arguments.x), weight = read(arguments.weight);
  Values y(at(R * C)), rstd(at(R));
  for (std::int64_t r = 0; r < R; ++r) {
    double squares = 0;
    for (std::int64_t c = 0; c < C; ++c) squares += x[at(r, c, C)] * x[at(r, c, C)];
    rstd[at(r)] = 1 / std::sqrt(squares / static_cast<double>(C) + static_cast<double>(arguments.epsilon));
    for (std::int64_t c = 0; c < C; ++c)
      y[at(r, c, C)] = rounded_to(arguments.y.type(), x[at(r, c, C)] * rstd[at(r)]) * weight[at(c)];
  }
  write(arguments.y, y);
  write(arguments.rstd, rstd);
}

void residual_rms_norm(const ops::ResidualRmsNorm& arguments) {
  residual(arguments.residual);
  ops::RmsNorm norm = arguments.norm;
  norm.x = arguments.residual.out;
  rms_norm(norm);
}

void rms_norm_gradient(const ops::RmsNormGradient& arguments) {
  const std::int64_t R = arguments.x.shape()[0], C = arguments.x.shape()[1];
  const Values dy = read(arguments.dy), x = read(arguments.x), weight = read(arguments.weight);
  const Values rstd = read(arguments.rstd);
  Values dx = read_or_zeros(arguments.residual_gradient, R * C), dweight(at(C));
  if (arguments.accumulate) dweight = read(arguments.dweight);
  for (std::int64_t r = 0; r < R; ++r) {
    double sum = 0;  // of g z, with z = x rstd and g = dy weight
    for (std::int64_t c = 0; c < C; ++c) {
      const double slope = dy[at(r, c, C)] * x[at(r, c, C)] * rstd[at(r)];
      sum += slope * weight[at(c)];
      dweight[at(c)] += slope;
    }
    for (std::int64_t c = 0; c < C; ++c)
      dx[at(r, c, C)] +=
          rstd[at(r)] * (dy[at(r, c, C)] * weight[at(c)] - x[at(r, c, C)] * rstd[at(r)] * sum / static_cast<double>(C));
  }
  write(arguments.dx, dx);
  write(arguments.dweight, dweight);
}

}  // namespace penstock::reference
