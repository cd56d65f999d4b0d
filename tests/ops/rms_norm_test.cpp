// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/rms_norm.hpp"

#include <gtest/gtest.h>

#include <span>

#include "ops/reference/reference.hpp"
#include "support/finite_differences.hpp"
#include "support/random_tensor.hpp"
#include "support/sanitized.hpp"

namespace penstock::rms_norm_test {
namespace {

using test::is_close;
using test::RandomTensors;
using test::Shared;
using test::TestTensor;
using test::tolerance_of;

struct Size {
  std::int64_t R, C;
};
// Rows of few channels and of many, also of odd numbers; many rows.
constexpr Size sizes[] = {{1, 8},    {7, 20},   {100, 64}, {33, 576}, {5, 13},   {10, 1024}, {9, 1600},
                          {5, 2048}, {3, 2049}, {2, 4096}, {700, 7},  {2, 8192}, {3, 8193},  {2, 10000}};

/// Types of the stream and of what joins it.
constexpr std::pair<DType, DType> stream_types[] = {
    {DType::float32, DType::float32}, {DType::bfloat16, DType::bfloat16}, {DType::bfloat16, DType::float32}};

std::string describe(const Size& size, DType type, DType other) {
  return fmt::format("R {} C {} {}, {}", size.R, size.C, name_of(type), name_of(other));
}

struct NormOutputs {
  TestTensor y, rstd;
  NormOutputs(DType type, const Size& size) : y(type, {size.R, size.C}), rstd(DType::float32, {size.R}) {}

  ops::RmsNorm arguments(const TensorView& x, const TensorView& weight) const {
    return {.x = x, .weight = weight, .y = y, .rstd = rstd, .epsilon = 1e-5F};
  }
};

TEST(RmsNorm, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : {DType::float32, DType::bfloat16})
      for (const double mean : {0.0, 10.0}) {  // the residual stream is not centred
        SCOPED_TRACE(describe(size, type, type));
        const TestTensor x = random.normal(type, {size.R, size.C}, 1, mean);
        const TestTensor weight = random.normal(DType::float32, {size.C});
        const NormOutputs got(type, size), expected(type, size);
        ops::rms_norm(queue, got.arguments(x, weight));
        reference::rms_norm(expected.arguments(x, weight));
        EXPECT_TRUE(is_close(got.y, expected.y, tolerance_of(type)));
        // Sums are float32 whatever the type is; a root loses half of an error.
        EXPECT_TRUE(is_close(got.rstd, expected.rstd, tolerance_of(DType::float32)));
      }
}

// The order of Llama's norm: what is rounded first is x * rstd. From the rstd that is kept each step is one operation
// in float32, so that the bits are known.
TEST(RmsNorm, RoundsBeforeItMultipliesByTheWeight) {
  RandomTensors random;
  Queue queue;
  const Size size{20, 96};
  const TestTensor x = random.normal(DType::bfloat16, {size.R, size.C});
  const TestTensor weight = random.normal(DType::float32, {size.C});
  const NormOutputs got(DType::bfloat16, size);
  ops::rms_norm(queue, got.arguments(x, weight));
  int otherwise = 0;
  for (std::int64_t i = 0; i < size.R * size.C; ++i) {
    const float z = static_cast<float>(x.view().data<bfloat16>()[i]) * got.rstd.view().data<float>()[i / size.C];
    const float w = weight.view().data<float>()[i % size.C];
    const auto expected = static_cast<float>(bfloat16(static_cast<float>(bfloat16(z)) * w));
    ASSERT_EQ(static_cast<float>(got.y.view().data<bfloat16>()[i]), expected) << i;
    otherwise += static_cast<float>(bfloat16(z * w)) != expected;
  }
  EXPECT_GT(otherwise, 100);  // of 1920: the other order would be seen
}

TEST(RmsNorm, OfARowOfKnownNumbers) {
  Queue queue;
  const TestTensor x(DType::float32, {2, 4}), weight(DType::float32, {4}), y(DType::float32, {2, 4});
  const TestTensor rstd(DType::float32, {2}), expected(DType::float32, {2, 4});
  reference::write(x, {3, -3, 3, 3, 0, 0, 0, 0});
  reference::write(weight, {1, 2, 3, 4});
  reference::write(expected, {1, -2, 3, 4, 0, 0, 0, 0});
  ops::rms_norm(queue, {.x = x, .weight = weight, .y = y, .rstd = rstd, .epsilon = 1e-12F});
  EXPECT_TRUE(is_close(y, expected, 1e-6));
  EXPECT_NEAR(reference::read(rstd)[1], 1e6, 1);  // nothing but epsilon
}

// How a branch joins the stream.
struct Join {
  bool has_residual, has_bias;
  double probability;
  bool in_place;  ///< out is residual
};
constexpr Join joins[] = {{true, false, 0, false},
                          {true, false, 0, true},
                          {true, true, 0.1, false},
                          {true, true, 0, true},
                          {false, false, 0, false}};

// The tensors of one residual; copied, so that each call has its own where it writes.
struct JoinTensors {
  TestTensor branch, stream, bias, own_out;
  Shared<std::uint64_t> first_sample{(7ULL << 32) + 12345};
  ops::Residual arguments;

  JoinTensors(RandomTensors& random, const Size& size, DType type, DType branch_type, const Join& join)
      : branch(random.normal(branch_type, {size.R, size.C})),
        stream(join.has_residual ? random.normal(type, {size.R, size.C}) : TestTensor()),
        bias(join.has_bias ? random.normal(DType::float32, {size.C}) : TestTensor()),
        own_out(type, {size.R, size.C}) {
    arguments.dropout = {.probability = join.probability, .key = random.next_key()};
    arguments.rows = {.first_row = 3, .sequence = 5};
    point(join);
  }
  JoinTensors(const JoinTensors& other, const Join& join)
      : branch(other.branch),
        stream(other.stream),
        bias(other.bias),
        own_out(other.own_out),
        arguments(other.arguments) {
    point(join);
  }
  void point(const Join& join) {
    arguments.rows.first_sample = first_sample.get();
    arguments.branch = branch;
    arguments.residual = stream;
    arguments.bias = bias;
    arguments.out = join.in_place ? stream.view() : own_out.view();
  }
};

void for_each_join(const std::function<void(const Size&, DType, DType, const Join&)>& act) {
  for (const Size& size : sizes)
    for (const auto& [type, branch_type] : stream_types)
      for (const Join& join : joins) {
        SCOPED_TRACE(describe(size, type, branch_type) + fmt::format(", residual {}, bias {}, dropout {}, in place {}",
                                                                     join.has_residual, join.has_bias, join.probability,
                                                                     join.in_place));
        act(size, type, branch_type, join);
      }
}

TEST(ResidualRmsNorm, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for_each_join([&](const Size& size, DType type, DType branch_type, const Join& join) {
    const TestTensor weight = random.normal(DType::float32, {size.C});
    const JoinTensors got(random, size, type, branch_type, join), expected(got, join);
    const NormOutputs got_norm(type, size), expected_norm(type, size);
    ops::residual_rms_norm(queue, {got.arguments, got_norm.arguments({}, weight)});
    reference::residual_rms_norm({expected.arguments, expected_norm.arguments({}, weight)});
    EXPECT_TRUE(is_close(got.arguments.out, expected.arguments.out, tolerance_of(type)));
    EXPECT_TRUE(is_close(got_norm.y, expected_norm.y, tolerance_of(type)));
    EXPECT_TRUE(is_close(got_norm.rstd, expected_norm.rstd, tolerance_of(type)));
  });
}

TEST(ResidualRmsNorm, HasTheBitsOfTheTwoOneAfterTheOther) {
  RandomTensors random;
  Queue queue;
  for_each_join([&](const Size& size, DType type, DType branch_type, const Join& join) {
    const TestTensor weight = random.normal(DType::float32, {size.C});
    const JoinTensors fused(random, size, type, branch_type, join), apart(fused, join);
    const NormOutputs fused_norm(type, size), norm(type, size);
    ops::residual_rms_norm(queue, {fused.arguments, fused_norm.arguments({}, weight)});
    ops::residual(queue, apart.arguments);
    ops::rms_norm(queue, norm.arguments(apart.arguments.out, weight));
    EXPECT_TRUE(test::same_bits(fused.arguments.out, apart.arguments.out));
    EXPECT_TRUE(test::same_bits(fused_norm.y, norm.y));
    EXPECT_TRUE(test::same_bits(fused_norm.rstd, norm.rstd));
  });
}

void expect_gradients_of_the_reference(std::span<const Size> of_sizes) {
  RandomTensors random;
  enum class Stream { absent, own, in_place };
  for (const Size& size : of_sizes)
    for (const auto& [type, dy_type] : stream_types)
      for (const Stream stream : {Stream::absent, Stream::own, Stream::in_place}) {
        SCOPED_TRACE(describe(size, type, dy_type) + fmt::format(", stream {}", static_cast<int>(stream)));
        Queue queue;
        const TestTensor x = random.normal(type, {size.R, size.C}, 1, 2), dy = random.normal(dy_type, {size.R, size.C});
        const TestTensor weight = random.normal(DType::float32, {size.C});
        const NormOutputs norm(type, size);
        reference::rms_norm(norm.arguments(x, weight));
        const TestTensor incoming = random.normal(type, {size.R, size.C});
        const TestTensor dx = stream == Stream::in_place ? incoming : TestTensor(type, {size.R, size.C});
        const TestTensor dx_expected(type, {size.R, size.C});
        const TestTensor dweight = random.normal(DType::float32, {size.C}), dweight_expected = dweight;
        ops::RmsNormGradient arguments{.dy = dy,
                                       .x = x,
                                       .weight = weight,
                                       .rstd = norm.rstd,
                                       .residual_gradient = {},
                                       .dx = dx,
                                       .dweight = dweight,
                                       .accumulate = stream != Stream::own};
        ops::RmsNormGradient expected = arguments;
        if (stream != Stream::absent) expected.residual_gradient = incoming;
        if (stream != Stream::absent) arguments.residual_gradient = stream == Stream::own ? incoming.view() : dx.view();
        expected.dx = dx_expected, expected.dweight = dweight_expected;
        ops::rms_norm_gradient(queue, arguments);
        reference::rms_norm_gradient(expected);
        EXPECT_TRUE(is_close(dx, dx_expected, tolerance_of(type)));
        // Sums of float32 products of what both read: as near as in float32.
        EXPECT_TRUE(is_close(dweight, dweight_expected, tolerance_of(DType::float32)));
        EXPECT_EQ(queue.workspace_bytes(), ops::rms_norm_workspace(size.R, size.C, queue.threads()));
      }
}

TEST(RmsNormGradient, IsTheReference) { expect_gradients_of_the_reference(sizes); }

// So many rows that each of a backend's workers has several, at each width that it may treat in its own way.
TEST(RmsNormGradient, OfManyRowsIsTheReference) {
  constexpr Size many_rows[] = {{4700, 24}, {2500, 301}, {1200, 780}, {600, 1600}, {600, 2056}};
  constexpr Size some_rows[] = {{600, 24}};
  expect_gradients_of_the_reference(test::sanitized ? std::span<const Size>(some_rows) : many_rows);
}

TEST(RmsNormGradient, HasTheSameBitsOnAnyNumberOfThreads) {
  RandomTensors random;
  const Size size{700, 40};
  const TestTensor x = random.normal(DType::bfloat16, {size.R, size.C});
  const TestTensor dy = random.normal(DType::float32, {size.R, size.C});
  const TestTensor weight = random.normal(DType::float32, {size.C});
  const NormOutputs norm(DType::bfloat16, size);
  reference::rms_norm(norm.arguments(x, weight));
  TestTensor first_dx, first_dweight;
  for (const int threads : {1, 2, 3, 5}) {
    Queue queue({.threads = threads});
    TestTensor dx(DType::bfloat16, {size.R, size.C}), dweight(DType::float32, {size.C});
    ops::rms_norm_gradient(queue, {.dy = dy,
                                   .x = x,
                                   .weight = weight,
                                   .rstd = norm.rstd,
                                   .residual_gradient = {},
                                   .dx = dx,
                                   .dweight = dweight,
                                   .accumulate = false});
    if (threads == 1) first_dx = dx, first_dweight = dweight;
    EXPECT_TRUE(test::same_bits(dx, first_dx)) << threads;
    EXPECT_TRUE(test::same_bits(dweight, first_dweight)) << threads;
  }
}

TEST(RmsNorm, BitsIgnoreOldMemory) {
  RandomTensors random;
  Queue queue;
  const Size size{37, 20};
  for (const DType type : {DType::float32, DType::bfloat16}) {
    const JoinTensors join(random, size, type, type, joins[0]);
    const TestTensor weight = random.normal(DType::float32, {20});
    NormOutputs norm(type, size);
    TestTensor out(type, {37, 20}), dx(type, {37, 20}), dweight(DType::float32, {20});
    ops::Residual residual = join.arguments;
    residual.out = out;
    EXPECT_TRUE(test::ignores_old_memory(queue, {&out, &norm.y, &norm.rstd}, [&] {
      ops::residual_rms_norm(queue, {residual, norm.arguments({}, weight)});
    }));
    EXPECT_TRUE(test::ignores_old_memory(queue, {&dx, &dweight}, [&] {
      ops::rms_norm_gradient(queue, {.dy = join.branch,
                                     .x = out,
                                     .weight = weight,
                                     .rstd = norm.rstd,
                                     .residual_gradient = {},
                                     .dx = dx,
                                     .dweight = dweight,
                                     .accumulate = false});
    }));
  }
}

TEST(RmsNormReference, GradientsAreThoseOfFiniteDifferences) {
  // out = stream + branch; value = <RmsNorm(out), dy> + <out, incoming>: a block's residual joint.
  RandomTensors random;
  const Shape shape{6, 12};
  const TestTensor stream = random.normal(DType::float64, shape), branch = random.normal(DType::float64, shape);
  const TestTensor weight = random.normal(DType::float64, {12});
  const TestTensor dy = random.normal(DType::float64, shape), incoming = random.normal(DType::float64, shape);
  const TestTensor out(DType::float64, shape), y(DType::float64, shape), rstd(DType::float64, {6});
  const auto value = [&] {
    reference::residual_rms_norm(
        {{.residual = stream, .branch = branch, .bias = {}, .out = out, .dropout = {}, .rows = {}},
         {.x = {}, .weight = weight, .y = y, .rstd = rstd, .epsilon = 0.1F}});  // so large that it counts
    return test::inner_product(y, dy) + test::inner_product(out, incoming);
  };
  value();
  const TestTensor dstream(DType::float64, shape), dweight = test::float64_zeros({12});
  reference::rms_norm_gradient({.dy = dy,
                                .x = out,
                                .weight = weight,
                                .rstd = rstd,
                                .residual_gradient = incoming,
                                .dx = dstream,
                                .dweight = dweight});
  EXPECT_LT(relative_difference(dstream, central_differences(stream, value)), test::difference_tolerance);
  EXPECT_LT(relative_difference(dweight, central_differences(weight, value)), test::difference_tolerance);
}

}  // namespace
}  // namespace penstock::rms_norm_test
