// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/linear.hpp"

#include <gtest/gtest.h>

#include "ops/reference/reference.hpp"
#include "support/finite_differences.hpp"
#include "support/random_tensor.hpp"

namespace penstock::linear_test {
namespace {

using test::is_close;
using test::RandomTensors;
using test::TestTensor;
using test::tolerance_of;

struct Size {
  std::int64_t N, K, M;
};
constexpr Size sizes[] = {{1, 1, 1},     {1, 20, 60},   {7, 16, 8},    {64, 48, 192},
                          {100, 20, 33}, {5, 768, 100}, {70, 64, 768}, {700, 24, 40}};

struct Types {
  DType in, out;
};
constexpr Types type_pairs[] = {
    {DType::float32, DType::float32}, {DType::bfloat16, DType::bfloat16}, {DType::bfloat16, DType::float32}};

std::string describe(const Size& size, const Types& types) {
  return fmt::format("N {} K {} M {}, {} to {}", size.N, size.K, size.M, name_of(types.in), name_of(types.out));
}

// Weights of size 1/sqrt(inputs) keep products of size 1, which is the unit in which single outputs are compared: u may
// happen to be near 0, and gelu(u) is where u is negative, but their errors are those of numbers of size 1.
constexpr double unit = 1;
double weight_size(std::int64_t inputs) { return 1 / std::sqrt(static_cast<double>(inputs)); }

TEST(Linear, IsTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  for (const Size& size : sizes)
    for (const Types& types : type_pairs)
      for (const bool has_bias : {false, true})
        for (const bool has_gelu : {false, true}) {
          SCOPED_TRACE(describe(size, types) + (has_bias ? ", bias" : "") + (has_gelu ? ", GELU" : ""));
          const TestTensor x = random.normal(types.in, {size.N, size.K});
          const TestTensor weight = random.normal(types.in, {size.M, size.K}, weight_size(size.K));
          const TestTensor bias = has_bias ? random.normal(DType::float32, {size.M}) : TestTensor();
          const TestTensor y(types.out, {size.N, size.M}), y_expected(types.out, {size.N, size.M});
          const TestTensor u = has_gelu ? TestTensor(types.out, {size.N, size.M}) : TestTensor();
          const TestTensor u_expected = u;
          ops::linear(queue, {.x = x, .weight = weight, .bias = bias, .y = y, .pre_activation = u});
          reference::linear({.x = x, .weight = weight, .bias = bias, .y = y_expected, .pre_activation = u_expected});
          EXPECT_TRUE(is_close(y, y_expected, tolerance_of(types.in), unit));
          if (has_gelu) {
            EXPECT_TRUE(is_close(u, u_expected, tolerance_of(types.in), unit));
          }
        }
}

TEST(Linear, GeluIsRightFarFromZero) {
  // tanh saturates: large pre-activations pass unchanged, very negative ones vanish, and no exponential overflows.
  Queue queue({.threads = 2});
  for (const DType type : {DType::float32, DType::bfloat16}) {
    const TestTensor x(type, {1, 1}), weight(type, {6, 1});
    reference::write(x, {1});
    reference::write(weight, {-1000, -20, -3, 3, 20, 1000});
    const TestTensor y(type, {1, 6}), u(type, {1, 6}), dx(type, {1, 6});
    ops::linear(queue, {.x = x, .weight = weight, .bias = {}, .y = y, .pre_activation = u});
    const reference::Values got = reference::read(y),
                            expected = {0, 0, -0.0036373920817729943, 2.996362607918227, 20, 1000};
    // Half a percent: a rounding to bfloat16 is 0.4 % at most. Where tanh is near -1, 1 + tanh loses digits: 1e-6 more.
    for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(got[i], expected[i], 0.005 * std::abs(expected[i]) + 1e-6) << i;

    TestTensor dy(type, {1, 1}), column(type, {1, 6});
    reference::write(dy, {1});
    reference::write(column, {1, 1, 1, 1, 1, 1});
    ops::linear_input_gradient(queue, {.dy = dy, .weight = column, .dx = dx, .pre_activation = u});
    const reference::Values slope = reference::read(dx);
    EXPECT_NEAR(slope[0], 0, 1e-6);
    EXPECT_NEAR(slope[1], 0, 1e-6);
    EXPECT_NEAR(slope[4], 1, 0.005);
    EXPECT_NEAR(slope[5], 1, 0.005);
  }
}

TEST(LinearInputGradient, IsTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  enum class Gelu { none, own, in_place };
  for (const Size& size : sizes)
    for (const Types& types : type_pairs)
      for (const Gelu gelu : {Gelu::none, Gelu::own, Gelu::in_place}) {
        SCOPED_TRACE(describe(size, types) + fmt::format(", GELU {}", static_cast<int>(gelu)));
        const TestTensor dy = random.normal(types.in, {size.N, size.M});
        const TestTensor weight = random.normal(types.in, {size.M, size.K}, weight_size(size.M));
        const TestTensor u = random.normal(types.out, {size.N, size.K});
        const TestTensor dx = gelu == Gelu::in_place ? u : TestTensor(types.out, {size.N, size.K});
        const TestTensor dx_expected(types.out, {size.N, size.K});
        const TensorView given = gelu == Gelu::none ? TensorView() : gelu == Gelu::own ? u.view() : dx.view();
        const TensorView expected_given = gelu == Gelu::none ? TensorView() : u.view();
        ops::linear_input_gradient(queue, {.dy = dy, .weight = weight, .dx = dx, .pre_activation = given});
        reference::linear_input_gradient(
            {.dy = dy, .weight = weight, .dx = dx_expected, .pre_activation = expected_given});
        EXPECT_TRUE(is_close(dx, dx_expected, tolerance_of(types.in), unit));
      }
}

TEST(LinearWeightGradient, IsTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  for (const Size& size : sizes)
    for (const DType type : {DType::float32, DType::bfloat16})
      for (const bool has_bias : {false, true})
        for (const bool accumulate : {false, true}) {
          SCOPED_TRACE(describe(size, {type, DType::float32}) + (has_bias ? ", bias" : "") +
                       (accumulate ? ", accumulate" : ""));
          const TestTensor dy = random.normal(type, {size.N, size.M});
          const TestTensor x = random.normal(type, {size.N, size.K});
          // The former contents: numbers if the result is added, NaN if it is overwritten.
          const TestTensor dweight = accumulate ? random.normal(DType::float32, {size.M, size.K})
                                                : TestTensor(DType::float32, {size.M, size.K});
          const TestTensor dbias = !has_bias    ? TestTensor()
                                   : accumulate ? random.normal(DType::float32, {size.M})
                                                : TestTensor(DType::float32, {size.M});
          const TestTensor dweight_expected = dweight, dbias_expected = dbias;
          ops::linear_weight_gradient(queue,
                                      {.dy = dy, .x = x, .dweight = dweight, .dbias = dbias, .accumulate = accumulate});
          reference::linear_weight_gradient(
              {.dy = dy, .x = x, .dweight = dweight_expected, .dbias = dbias_expected, .accumulate = accumulate});
          EXPECT_TRUE(is_close(dweight, dweight_expected, tolerance_of(type), unit));
          if (has_bias) {
            EXPECT_TRUE(is_close(dbias, dbias_expected, tolerance_of(type), unit));
          }
        }
}

TEST(LinearWeightGradient, InBfloat16IsTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  for (const Size& size : sizes) {
    SCOPED_TRACE(describe(size, {DType::bfloat16, DType::bfloat16}));
    const TestTensor dy = random.normal(DType::bfloat16, {size.N, size.M});
    const TestTensor x = random.normal(DType::bfloat16, {size.N, size.K});
    const TestTensor dweight(DType::bfloat16, {size.M, size.K}), expected = dweight;
    ops::linear_weight_gradient(queue, {.dy = dy, .x = x, .dweight = dweight, .dbias = {}, .accumulate = false});
    reference::linear_weight_gradient({.dy = dy, .x = x, .dweight = expected, .dbias = {}, .accumulate = false});
    EXPECT_TRUE(is_close(dweight, expected, tolerance_of(DType::bfloat16), unit));
  }
}

TEST(LinearWeightGradient, InBfloat16RefusesToAdd) {
  RandomTensors random;
  Queue queue({.threads = 2});
  const TestTensor dy = random.normal(DType::bfloat16, {8, 16}), x = random.normal(DType::bfloat16, {8, 16});
  const TestTensor dweight = random.normal(DType::bfloat16, {16, 16});
  EXPECT_THROW(ops::linear_weight_gradient(queue, {.dy = dy, .x = x, .dweight = dweight, .dbias = {}}), LogicError);
}

TEST(LinearWeightGradient, AddsOverMicrobatches) {
  RandomTensors random;
  Queue queue({.threads = 2});
  const TestTensor dy = random.normal(DType::bfloat16, {33, 12}), x = random.normal(DType::bfloat16, {33, 20});
  TestTensor twice = random.normal(DType::float32, {12, 20}), once = twice;
  for (int i = 0; i < 2; ++i) ops::linear_weight_gradient(queue, {.dy = dy, .x = x, .dweight = twice, .dbias = {}});
  reference::linear_weight_gradient({.dy = dy, .x = x, .dweight = once, .dbias = {}});
  reference::linear_weight_gradient({.dy = dy, .x = x, .dweight = once, .dbias = {}});
  // Products of bfloat16 are exact in float32, so that the result is as good as a float32 one.
  EXPECT_TRUE(is_close(twice, once, tolerance_of(DType::float32)));
}

TEST(Linear, BitsIgnoreOldMemory) {
  RandomTensors random;
  Queue queue({.threads = 2});
  for (const DType type : {DType::float32, DType::bfloat16}) {
    const TestTensor x = random.normal(type, {37, 20}), weight = random.normal(type, {33, 20});
    const TestTensor bias = random.normal(DType::float32, {33}), dy = random.normal(type, {37, 33});
    TestTensor y(type, {37, 33}), u(type, {37, 33}), dx(type, {37, 20});
    TestTensor dweight(DType::float32, {33, 20}), dbias(DType::float32, {33});
    EXPECT_TRUE(test::ignores_old_memory(queue, {&y, &u}, [&] {
      ops::linear(queue, {.x = x, .weight = weight, .bias = bias, .y = y, .pre_activation = u});
    }));
    EXPECT_TRUE(test::ignores_old_memory(queue, {&dx}, [&] {
      ops::linear_input_gradient(queue, {.dy = dy, .weight = weight, .dx = dx, .pre_activation = x});
    }));
    EXPECT_TRUE(test::ignores_old_memory(queue, {&dweight, &dbias}, [&] {
      ops::linear_weight_gradient(queue, {.dy = dy, .x = x, .dweight = dweight, .dbias = dbias, .accumulate = false});
    }));
  }
}

TEST(Linear, WorkspaceIsForetold) {
  RandomTensors random;
  for (const std::int64_t rows : {5, 700})
    for (const DType type : {DType::float32, DType::bfloat16})
      for (const bool has_gelu : {false, true}) {
        SCOPED_TRACE(describe({rows, 48, 40}, {type, type}) + (has_gelu ? ", GELU" : ""));
        Queue queue({.threads = 2});
        const TestTensor x = random.normal(type, {rows, 48}), weight = random.normal(type, {40, 48});
        const TestTensor bias = random.normal(DType::float32, {40}), dy = random.normal(type, {rows, 40});
        const TestTensor y(type, {rows, 40}), u = has_gelu ? TestTensor(type, {rows, 40}) : TestTensor();
        const TestTensor dx(type, {rows, 48}), before = has_gelu ? random.normal(type, {rows, 48}) : TestTensor();
        const TestTensor dweight(DType::float32, {40, 48}), dbias(DType::float32, {40});
        ops::linear(queue, {.x = x, .weight = weight, .bias = bias, .y = y, .pre_activation = u});
        ops::linear_input_gradient(queue, {.dy = dy, .weight = weight, .dx = dx, .pre_activation = before});
        ops::linear_weight_gradient(queue, {.dy = dy, .x = x, .dweight = dweight, .dbias = dbias, .accumulate = false});
        const std::size_t foretold = ops::linear_workspace({.rows = rows,
                                                            .inputs = 48,
                                                            .outputs = 40,
                                                            .type = type,
                                                            .y = type,
                                                            .dx = type,
                                                            .bias = true,
                                                            .bias_gradient = true,
                                                            .activated = has_gelu,
                                                            .slope = has_gelu,
                                                            .accumulate = false},
                                                           2);
        EXPECT_LE(queue.workspace_bytes(), foretold);
#ifndef PENSTOCK_TEST_PINNED  // a GPU's library may ask for less than it is given
        EXPECT_EQ(queue.workspace_bytes(), foretold);
#endif
      }
}

TEST(LinearReference, GradientsAreThoseOfFiniteDifferences) {
  RandomTensors random;
  const TestTensor x = random.normal(DType::float64, {3, 4}), weight = random.normal(DType::float64, {5, 4});
  const TestTensor bias = random.normal(DType::float64, {5}), dy = random.normal(DType::float64, {3, 5});
  const TestTensor y(DType::float64, {3, 5});
  const auto value = [&] {
    reference::linear({.x = x, .weight = weight, .bias = bias, .y = y, .pre_activation = {}});
    return test::inner_product(y, dy);
  };
  const TestTensor dx(DType::float64, {3, 4}), dweight(DType::float64, {5, 4}), dbias(DType::float64, {5});
  reference::linear_input_gradient({.dy = dy, .weight = weight, .dx = dx, .pre_activation = {}});
  reference::linear_weight_gradient({.dy = dy, .x = x, .dweight = dweight, .dbias = dbias, .accumulate = false});
  EXPECT_LT(relative_difference(dx, central_differences(x, value)), test::difference_tolerance);
  EXPECT_LT(relative_difference(dweight, central_differences(weight, value)), test::difference_tolerance);
  EXPECT_LT(relative_difference(dbias, central_differences(bias, value)), test::difference_tolerance);
}

TEST(LinearReference, GradientThroughGeluIsThatOfFiniteDifferences) {
  // Two layers, as the up and down products of an MLP: the input gradient of the second carries gelu' of the first.
  RandomTensors random;
  const TestTensor x = random.normal(DType::float64, {3, 4}), up = random.normal(DType::float64, {6, 4});
  const TestTensor bias = random.normal(DType::float64, {6}), down = random.normal(DType::float64, {2, 6});
  const TestTensor dy = random.normal(DType::float64, {3, 2});
  const TestTensor hidden(DType::float64, {3, 6}), u(DType::float64, {3, 6}), y(DType::float64, {3, 2});
  const auto value = [&] {
    reference::linear({.x = x, .weight = up, .bias = bias, .y = hidden, .pre_activation = u});
    reference::linear({.x = hidden, .weight = down, .bias = {}, .y = y, .pre_activation = {}});
    return test::inner_product(y, dy);
  };
  value();
  const TestTensor du(DType::float64, {3, 6}), dx(DType::float64, {3, 4});
  reference::linear_input_gradient({.dy = dy, .weight = down, .dx = du, .pre_activation = u});
  reference::linear_input_gradient({.dy = du, .weight = up, .dx = dx, .pre_activation = {}});
  EXPECT_LT(relative_difference(dx, central_differences(x, value)), test::difference_tolerance);
}

}  // namespace
}  // namespace penstock::linear_test
