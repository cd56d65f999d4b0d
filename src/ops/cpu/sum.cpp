// SPDX-License-Identifier: Apache-2.0
#include "ops/sum.hpp"

namespace penstock::ops {

void add_sum(Queue&, TensorView tensor, double* sum) {
  const float* values = tensor.data<float>();
  double total = 0;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) total += values[i];
  *sum += total;
}

void add(Queue&, TensorView first, TensorView second, TensorView out) {
  ensure(first.elements() == second.elements() && first.elements() == out.elements(),
         "add: unequal numbers of elements");
  const float* a = first.data<float>();
  const float* b = second.data<float>();
  float* to = out.data<float>();
  const std::int64_t n = out.elements();
#pragma omp parallel for simd schedule(static) if (n > 65536)
  for (std::int64_t i = 0; i < n; ++i) to[i] = a[i] + b[i];
}

}  // namespace penstock::ops
