// SPDX-License-Identifier: Apache-2.0
#include "ops/swiglu.hpp"

#include <cmath>

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {
namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

void swiglu(const ops::Swiglu& arguments) {
  const std::int64_t N = arguments.y.shape()[0], F = arguments.y.shape()[1];
  const Values gate_up = read(arguments.gate_up);
  Values y(at(N * F));
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t f = 0; f < F; ++f) {
      const double gate = gate_up[at(n, f, 2 * F)], up = gate_up[at(n, F + f, 2 * F)];
      y[at(n, f, F)] = gate * logistic(gate) * up;
    }
  write(arguments.y, y);
}

void swiglu_gradient(const ops::SwigluGradient& arguments) {
  const std::int64_t N = arguments.dy.shape()[0], F = arguments.dy.shape()[1];
  const Values gate_up = read(arguments.gate_up), dy = read(arguments.dy);
  Values dgate_up(at(N * 2 * F));
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t f = 0; f < F; ++f) {
      const double gate = gate_up[at(n, f, 2 * F)], up = gate_up[at(n, F + f, 2 * F)], s = logistic(gate);
      dgate_up[at(n, f, 2 * F)] = dy[at(n, f, F)] * up * s * (1 + gate * (1 - s));
      dgate_up[at(n, F + f, 2 * F)] = dy[at(n, f, F)] * gate * s;
    }
  write(arguments.dgate_up, dgate_up);
}

}  // namespace penstock::reference
