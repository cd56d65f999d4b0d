// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/swiglu.hpp"

#include <gtest/gtest.h>

#include "ops/reference/reference.hpp"
#include "support/finite_differences.hpp"
#include "support/random_tensor.hpp"

namespace penstock::swiglu_test {
namespace {

using test::is_close;
using test::RandomTensors;
using test::TestTensor;
using test::tolerance_of;

struct Size {
  std::int64_t N, F;
};
constexpr Size sizes[] = {{1, 1}, {3, 7}, {5, 8}, {33, 20}, {100, 96}, {7, 1365}, {4, 4096}};
constexpr DType types[] = {DType::float32, DType::bfloat16};

std::string describe(const Size& size, DType type) {
  return fmt::format("N {} F {} {}", size.N, size.F, name_of(type));
}

TEST(Swiglu, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types) {
      SCOPED_TRACE(describe(size, type));
      const TestTensor gate_up = random.normal(type, {size.N, 2 * size.F}, 2);
      const TestTensor y(type, {size.N, size.F}), expected(type, {size.N, size.F});
      ops::swiglu(queue, {.gate_up = gate_up, .y = y});
      reference::swiglu({.gate_up = gate_up, .y = expected});
      // Where the gate is negative the result is small, with the errors of numbers of size 1.
      EXPECT_TRUE(is_close(y, expected, tolerance_of(type), 1));
    }
}

TEST(SwigluGradient, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const bool in_place : {false, true}) {
        SCOPED_TRACE(describe(size, type) + (in_place ? ", in place" : ""));
        const TestTensor gate_up = random.normal(type, {size.N, 2 * size.F}, 2), in_and_out = gate_up;
        const TestTensor dy = random.normal(type, {size.N, size.F});
        const TestTensor own(type, {size.N, 2 * size.F}), expected(type, {size.N, 2 * size.F});
        const TensorView to = in_place ? in_and_out.view() : own.view();
        ops::swiglu_gradient(queue, {.gate_up = in_place ? in_and_out : gate_up, .dy = dy, .dgate_up = to});
        reference::swiglu_gradient({.gate_up = gate_up, .dy = dy, .dgate_up = expected});
        EXPECT_TRUE(is_close(to, expected, tolerance_of(type), 1));
      }
}

TEST(Swiglu, IsRightFarFromZero) {
  // The logistic function saturates: no exponential may overflow into something that is not a number.
  Queue queue;
  for (const DType type : types) {
    const TestTensor gate_up(type, {1, 12}), y(type, {1, 6}), dy(type, {1, 6}), dgate_up(type, {1, 12});
    reference::write(gate_up, {-1000, -100, -20, 20, 100, 1000, 2, 2, 2, 2, 2, 2});
    reference::write(dy, {1, 1, 1, 1, 1, 1});
    ops::swiglu(queue, {.gate_up = gate_up, .y = y});
    ops::swiglu_gradient(queue, {.gate_up = gate_up, .dy = dy, .dgate_up = dgate_up});
    const reference::Values got = reference::read(y), gradient = reference::read(dgate_up);
    const reference::Values expected = {0, 0, 0, 40, 200, 2000}, dgate = {0, 0, 0, 2, 2, 2},
                            dup = {0, 0, 0, 20, 100, 1000};
    // Half a percent: a rounding to bfloat16 is 0.4 % at most. exp(-20) * 20 = 4e-8 is left of the negative gates.
    for (std::size_t i = 0; i < 6; ++i) {
      EXPECT_NEAR(got[i], expected[i], 0.005 * expected[i] + 1e-6) << i;
      EXPECT_NEAR(gradient[i], dgate[i], 0.005 * dgate[i] + 1e-6) << i;
      EXPECT_NEAR(gradient[6 + i], dup[i], 0.005 * dup[i] + 1e-6) << i;
    }
  }
}

TEST(Swiglu, OfAnyRowsHasTheBitsOfTheWhole) {
  // What is computed again must not depend on how many rows there are, nor on the number of threads.
  RandomTensors random;
  const std::int64_t N = 90, F = 20;
  for (const DType type : types) {
    const TestTensor gate_up = random.normal(type, {N, 2 * F}), dy = random.normal(type, {N, F});
    const TestTensor y(type, {N, F}), dgate_up(type, {N, 2 * F});
    Queue one({.threads = 1});
    ops::swiglu(one, {.gate_up = gate_up, .y = y});
    ops::swiglu_gradient(one, {.gate_up = gate_up, .dy = dy, .dgate_up = dgate_up});
    for (const int threads : {1, 3})
      for (const std::int64_t first : {0, 1, 40}) {
        Queue queue({.threads = threads});
        const TestTensor part(type, {50, F}), gradient(type, {50, 2 * F});
        ops::swiglu(queue, {.gate_up = gate_up.view().rows(first, 50), .y = part});
        ops::swiglu_gradient(
            queue, {.gate_up = gate_up.view().rows(first, 50), .dy = dy.view().rows(first, 50), .dgate_up = gradient});
        EXPECT_TRUE(test::same_bits(part, y.view().rows(first, 50))) << first;
        EXPECT_TRUE(test::same_bits(gradient, dgate_up.view().rows(first, 50))) << first;
      }
  }
}

TEST(SwigluReference, GradientIsThatOfFiniteDifferences) {
  RandomTensors random;
  const TestTensor gate_up = random.normal(DType::float64, {5, 14}), dy = random.normal(DType::float64, {5, 7});
  const TestTensor y(DType::float64, {5, 7}), dgate_up(DType::float64, {5, 14});
  const auto value = [&] {
    reference::swiglu({.gate_up = gate_up, .y = y});
    return test::inner_product(y, dy);
  };
  reference::swiglu_gradient({.gate_up = gate_up, .dy = dy, .dgate_up = dgate_up});
  EXPECT_LT(relative_difference(dgate_up, central_differences(gate_up, value)), test::difference_tolerance);
}

}  // namespace
}  // namespace penstock::swiglu_test
