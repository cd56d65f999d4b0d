// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/gelu.hpp"

#include <gtest/gtest.h>

#include "ops/reference/reference.hpp"
#include "support/random_tensor.hpp"

namespace penstock::gelu_test {
namespace {

using test::RandomTensors;
using test::TestTensor;

constexpr std::int64_t lengths[] = {1, 7, 8, 100, 4095, 4096, 4097, 20011};

TEST(Gelu, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const DType type : {DType::float32, DType::bfloat16})
    for (const std::int64_t n : lengths) {
      SCOPED_TRACE(fmt::format("{} {}", n, name_of(type)));
      const TestTensor u = random.normal(type, {n}, 2), y(type, {n}), expected(type, {n});
      ops::gelu(queue, {.pre_activation = u, .y = y});
      reference::gelu({.pre_activation = u, .y = expected});
      // Where u is negative gelu(u) is small, with the errors of numbers of size 1.
      EXPECT_TRUE(test::is_close(y, expected, test::tolerance_of(type), 1));
    }
}

TEST(Gelu, IsRightFarFromZero) {
  // tanh saturates: large numbers pass unchanged, very negative ones vanish, and no exponential overflows.
  Queue queue;
  for (const DType type : {DType::float32, DType::bfloat16}) {
    const TestTensor u(type, {6}), y(type, {6});
    reference::write(u, {-1000, -20, -3, 3, 20, 1000});
    ops::gelu(queue, {.pre_activation = u, .y = y});
    const reference::Values got = reference::read(y),
                            expected = {0, 0, -0.0036373920817729943, 2.996362607918227, 20, 1000};
    // Half a percent: a rounding to bfloat16 is 0.4 % at most. Where tanh is near -1, 1 + tanh loses digits: 1e-6 more.
    for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(got[i], expected[i], 0.005 * std::abs(expected[i]) + 1e-6) << i;
  }
}

TEST(Gelu, OfAnyPartHasTheBitsOfTheWhole) {
  // What is computed again must not depend on where it lies.
  RandomTensors random;
  Queue queue;
  for (const DType type : {DType::float32, DType::bfloat16}) {
    const TestTensor u = random.normal(type, {100}), whole(type, {100}), part(type, {100});
    ops::gelu(queue, {.pre_activation = u, .y = whole});
    for (const std::int64_t begin : {1, 2, 3, 8})
      for (const std::int64_t target : {0, 1, 5}) {
        ops::gelu(queue, {.pre_activation = u.view().range(begin, 77), .y = part.view().range(target, 77)});
        EXPECT_TRUE(test::same_bits(part.view().range(target, 77), whole.view().range(begin, 77)))
            << begin << " to " << target;
      }
  }
}

}  // namespace
}  // namespace penstock::gelu_test
