// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gradients by central differences, for tests of the reference operations, which also work on float64.

#include <functional>

#include "support/random_tensor.hpp"

namespace penstock::test {

/// With step h = 1e-5 on variables of size 1 a central difference is wrong by h^2/6 f''' (1e-10 or so for the smooth
/// functions here, more where a LayerNorm row happens to be nearly constant) and by rounding 1e-16 |f| / h = 1e-10 for
/// |f| of about 10. The bound leaves room for both and is far below what a wrong term would make (1e-2 or more).
inline constexpr double difference_step = 1e-5;
inline constexpr double difference_tolerance = 1e-6;

/// The derivatives of value() with respect to each element of `variable` (float64).
inline TestTensor central_differences(const TensorView& variable, const std::function<double()>& value) {
  TestTensor gradient(DType::float64, variable.shape());
  double* elements = variable.data<double>();
  for (std::int64_t i = 0; i < variable.elements(); ++i) {
    const double kept = elements[i];
    elements[i] = kept + difference_step;
    const double above = value();
    elements[i] = kept - difference_step;
    const double below = value();
    elements[i] = kept;
    gradient.view().data<double>()[i] = (above - below) / (2 * difference_step);
  }
  return gradient;
}

/// Sum of products, by which a tensor becomes a scalar whose gradient is the other tensor.
inline double inner_product(const TensorView& a, const TensorView& b) {
  const reference::Values left = reference::read(a), right = reference::read(b);
  double sum = 0;
  for (std::size_t i = 0; i < left.size(); ++i) sum += left[i] * right[i];
  return sum;
}

/// float64 zeros, to add a gradient to.
inline TestTensor float64_zeros(const Shape& shape) {
  TestTensor tensor(DType::float64, shape);
  tensor.fill(0);
  return tensor;
}

}  // namespace penstock::test
