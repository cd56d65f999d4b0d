// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/layer_norm.hpp"

#include <gtest/gtest.h>

#include <span>

#include "ops/reference/reference.hpp"
#include "support/finite_differences.hpp"
#include "support/random_tensor.hpp"
#include "support/sanitized.hpp"

namespace penstock::layer_norm_test {
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
constexpr Size sizes[] = {{1, 8},    {7, 20},   {100, 64}, {1, 768}, {33, 768}, {5, 13},   {10, 1024}, {9, 1600},
                          {5, 2048}, {3, 2049}, {2, 3001}, {700, 7}, {2, 8192}, {3, 8193}, {2, 10000}};
constexpr DType types[] = {DType::float32, DType::bfloat16};

// The run's sample number of a microbatch, beyond 32 bits, so that its upper half must reach the masks.
const std::uint64_t far_sample = (7ULL << 32) + 12345;

ops::Dropout some_dropout(RandomTensors& random, double probability) {
  return {.probability = probability, .key = random.next_key()};
}

std::string describe(const Size& size, DType type) {
  return fmt::format("R {} C {} {}", size.R, size.C, name_of(type));
}

// The tensors that LayerNorm writes.
struct NormOutputs {
  TestTensor y, mean, rstd;
  NormOutputs(DType type, const Size& size)
      : y(type, {size.R, size.C}), mean(DType::float32, {size.R}), rstd(DType::float32, {size.R}) {}

  ops::LayerNorm arguments(const TensorView& x, const TensorView& weight, const TensorView& bias) const {
    return {.x = x, .weight = weight, .bias = bias, .y = y, .mean = mean, .rstd = rstd};
  }
  void expect_close(const NormOutputs& expected, double tolerance) const {
    EXPECT_TRUE(is_close(y, expected.y, tolerance));
    EXPECT_TRUE(is_close(mean, expected.mean, tolerance, 1));  // a mean near 0 has the error of the terms
    EXPECT_TRUE(is_close(rstd, expected.rstd, tolerance));
  }
};

TEST(LayerNorm, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const double mean : {0.0, 10.0}) {  // the residual stream is not centred
        SCOPED_TRACE(describe(size, type));
        const TestTensor x = random.normal(type, {size.R, size.C}, 1, mean);
        const TestTensor weight = random.normal(DType::float32, {size.C}),
                         bias = random.normal(DType::float32, {size.C});
        const NormOutputs got(type, size), expected(type, size);
        ops::layer_norm(queue, got.arguments(x, weight, bias));
        reference::layer_norm(expected.arguments(x, weight, bias));
        got.expect_close(expected, tolerance_of(type));
      }
}

TEST(LayerNorm, OfAConstantRowIsItsBias) {
  Queue queue;
  const TestTensor x(DType::float32, {2, 24}), weight(DType::float32, {24}), bias(DType::float32, {24});
  reference::write(x, reference::Values(48, 3.0));
  reference::write(weight, reference::Values(24, 2.0));
  reference::write(bias, reference::Values(24, 0.5));
  const NormOutputs got(DType::float32, {2, 24});
  ops::layer_norm(queue, got.arguments(x, weight, bias));
  const TestTensor expected(DType::float32, {2, 24});
  reference::write(expected, reference::Values(48, 0.5));
  // The mean of 24 equal numbers may be off by 2e-7, which rstd = 316 and the weight make 1e-4.
  EXPECT_TRUE(is_close(got.y, expected, 1e-3));
}

// One call of `residual`: what the branch is, which arguments share memory.
struct ResidualCase {
  DType type, branch_type;
  bool has_residual;
  double probability;
  enum class Out { own, branch, residual } out;
};

std::vector<ResidualCase> residual_cases() {
  std::vector<ResidualCase> cases;
  for (const auto& [type, branch_type] : {std::pair{DType::float32, DType::float32},
                                          {DType::bfloat16, DType::bfloat16},
                                          {DType::bfloat16, DType::float32}})
    for (const bool has_residual : {false, true})
      for (const double probability : {0.0, 0.1})
        for (const auto out : {ResidualCase::Out::own, ResidualCase::Out::branch, ResidualCase::Out::residual}) {
          if (out == ResidualCase::Out::branch && type != branch_type) continue;
          if (out == ResidualCase::Out::residual && !has_residual) continue;
          cases.push_back({type, branch_type, has_residual, probability, out});
        }
  return cases;
}

std::string describe(const Size& size, const ResidualCase& c) {
  return describe(size, c.type) + fmt::format(", branch {}, residual {}, dropout {}, out {}", name_of(c.branch_type),
                                              c.has_residual, c.probability, static_cast<int>(c.out));
}

// The tensors of one such call; copied, so that backend and reference each have their own where they write.
struct ResidualTensors {
  TestTensor branch, stream, own_out;
  Shared<std::uint64_t> first_sample{far_sample};
  ops::Residual arguments;

  ResidualTensors(RandomTensors& random, const Size& size, const ResidualCase& c, const TensorView& bias)
      : branch(random.normal(c.branch_type, {size.R, size.C})),
        stream(c.has_residual ? random.normal(c.type, {size.R, size.C}) : TestTensor()),
        own_out(c.type, {size.R, size.C}) {
    arguments.bias = bias;
    arguments.dropout = some_dropout(random, c.probability);
    arguments.rows = {.first_row = 3, .sequence = 5};
    point(c.out);
  }
  ResidualTensors(const ResidualTensors& other, ResidualCase::Out out)
      : branch(other.branch), stream(other.stream), own_out(other.own_out), arguments(other.arguments) {
    point(out);
  }
  void point(ResidualCase::Out out) {
    arguments.rows.first_sample = first_sample.get();
    arguments.branch = branch;
    arguments.residual = stream;
    arguments.out = out == ResidualCase::Out::own      ? own_out.view()
                    : out == ResidualCase::Out::branch ? branch.view()
                                                       : stream.view();
  }
};

TEST(Residual, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const ResidualCase& c : residual_cases()) {
      SCOPED_TRACE(describe(size, c));
      const TestTensor bias = random.normal(DType::float32, {size.C});
      const ResidualTensors got(random, size, c, bias), expected(got, c.out);
      ops::residual(queue, got.arguments);
      reference::residual(expected.arguments);
      EXPECT_TRUE(is_close(got.arguments.out, expected.arguments.out, tolerance_of(c.type)));
    }
}

TEST(ResidualLayerNorm, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const ResidualCase& c : residual_cases()) {
      SCOPED_TRACE(describe(size, c));
      const TestTensor bias = random.normal(DType::float32, {size.C});
      const TestTensor weight = random.normal(DType::float32, {size.C}),
                       norm_bias = random.normal(DType::float32, {size.C});
      const ResidualTensors got(random, size, c, bias), expected(got, c.out);
      const NormOutputs got_norm(c.type, size), expected_norm(c.type, size);
      ops::residual_layer_norm(queue, {got.arguments, got_norm.arguments({}, weight, norm_bias)});
      reference::residual_layer_norm({expected.arguments, expected_norm.arguments({}, weight, norm_bias)});
      EXPECT_TRUE(is_close(got.arguments.out, expected.arguments.out, tolerance_of(c.type)));
      got_norm.expect_close(expected_norm, tolerance_of(c.type));
    }
}

TEST(ResidualLayerNorm, HasTheBitsOfTheTwoOneAfterTheOther) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const ResidualCase& c : residual_cases()) {
      SCOPED_TRACE(describe(size, c));
      const TestTensor bias = random.normal(DType::float32, {size.C});
      const TestTensor weight = random.normal(DType::float32, {size.C}),
                       norm_bias = random.normal(DType::float32, {size.C});
      const ResidualTensors fused(random, size, c, bias), apart(fused, c.out);
      const NormOutputs fused_norm(c.type, size), norm(c.type, size);
      ops::residual_layer_norm(queue, {fused.arguments, fused_norm.arguments({}, weight, norm_bias)});
      ops::residual(queue, apart.arguments);
      ops::layer_norm(queue, norm.arguments(apart.arguments.out, weight, norm_bias));
      EXPECT_TRUE(test::same_bits(fused.arguments.out, apart.arguments.out));
      EXPECT_TRUE(test::same_bits(fused_norm.y, norm.y));
      EXPECT_TRUE(test::same_bits(fused_norm.mean, norm.mean));
      EXPECT_TRUE(test::same_bits(fused_norm.rstd, norm.rstd));
    }
}

TEST(Residual, MasksOfACutTensorAreThoseOfTheWhole) {
  RandomTensors random;
  const Shared first_sample(far_sample);
  Queue queue;
  const std::int64_t R = 21, C = 20, sequence = 7;
  const TestTensor branch = random.normal(DType::float32, {R, C}), bias = random.normal(DType::float32, {C});
  const TestTensor whole(DType::float32, {R, C}), cut(DType::float32, {R, C});
  const ops::Dropout dropout = some_dropout(random, 0.3);
  const auto run = [&](std::int64_t begin, std::int64_t count, const std::uint64_t* number, std::int64_t first_row,
                       const TestTensor& out) {
    const Shape shape{count, C};
    ops::residual(queue, {.residual = {},
                          .branch = branch.view().range(begin * C, count * C).reshaped(shape),
                          .bias = bias,
                          .out = out.view().range(begin * C, count * C).reshaped(shape),
                          .dropout = dropout,
                          .rows = {.first_sample = number, .first_row = first_row, .sequence = sequence}});
  };
  run(0, R, first_sample.get(), 0, whole);
  EXPECT_GT(std::ranges::count(reference::read(whole), 0.0), 0);

  // As sequence parallelism cuts it: the same microbatch from another row on.
  for (const auto& [begin, count] : {std::pair{0, 10}, {10, 1}, {11, 10}})
    run(begin, count, first_sample.get(), begin, cut);
  EXPECT_TRUE(test::same_bits(cut, whole));

  // As the data axis cuts it: one sample in a microbatch of its own.
  cut.view().data<float>()[0] = 0;
  for (std::int64_t sample = 0; sample < 3; ++sample) {
    const Shared number(far_sample + static_cast<std::uint64_t>(sample));
    run(sample * sequence, sequence, number.get(), 0, cut);
  }
  EXPECT_TRUE(test::same_bits(cut, whole));
}

void expect_gradients_of_the_reference(std::span<const Size> of_sizes) {
  RandomTensors random;
  enum class Stream { absent, own, in_place };
  for (const Size& size : of_sizes)
    for (const auto& [type, dy_type] : {std::pair{DType::float32, DType::float32},
                                        {DType::bfloat16, DType::bfloat16},
                                        {DType::bfloat16, DType::float32}})
      for (const Stream stream : {Stream::absent, Stream::own, Stream::in_place}) {
        SCOPED_TRACE(describe(size, type) +
                     fmt::format(", dy {}, stream {}", name_of(dy_type), static_cast<int>(stream)));
        Queue queue;
        const TestTensor x = random.normal(type, {size.R, size.C}, 1, 2), dy = random.normal(dy_type, {size.R, size.C});
        const TestTensor weight = random.normal(DType::float32, {size.C}),
                         bias = random.normal(DType::float32, {size.C});
        const NormOutputs norm(type, size);
        reference::layer_norm(norm.arguments(x, weight, bias));
        const TestTensor incoming = random.normal(type, {size.R, size.C});
        const TestTensor dx = stream == Stream::in_place ? incoming : TestTensor(type, {size.R, size.C});
        const TestTensor dx_expected(type, {size.R, size.C});
        const TestTensor dweight = random.normal(DType::float32, {size.C}),
                         dbias = random.normal(DType::float32, {size.C});
        const TestTensor dweight_expected = dweight, dbias_expected = dbias;

        ops::LayerNormGradient arguments{.dy = dy,
                                         .x = x,
                                         .weight = weight,
                                         .mean = norm.mean,
                                         .rstd = norm.rstd,
                                         .residual_gradient = {},
                                         .dx = dx,
                                         .dweight = dweight,
                                         .dbias = dbias,
                                         .accumulate = stream != Stream::own};
        ops::LayerNormGradient expected = arguments;
        if (stream != Stream::absent) expected.residual_gradient = incoming;
        if (stream != Stream::absent) arguments.residual_gradient = stream == Stream::own ? incoming.view() : dx.view();
        expected.dx = dx_expected, expected.dweight = dweight_expected, expected.dbias = dbias_expected;
        ops::layer_norm_gradient(queue, arguments);
        reference::layer_norm_gradient(expected);
        EXPECT_TRUE(is_close(dx, dx_expected, tolerance_of(type)));
        EXPECT_TRUE(is_close(dweight, dweight_expected, tolerance_of(type)));
        EXPECT_TRUE(is_close(dbias, dbias_expected, tolerance_of(type)));
        EXPECT_EQ(queue.workspace_bytes(), ops::layer_norm_workspace(size.R, size.C, queue.threads()));
      }
}

TEST(LayerNormGradient, IsTheReference) { expect_gradients_of_the_reference(sizes); }

// So many rows that each of a backend's workers has several, at each width that it may treat in its own way.
TEST(LayerNormGradient, OfManyRowsIsTheReference) {
  constexpr Size many_rows[] = {{4700, 24}, {2500, 301}, {1200, 780}, {600, 1600}, {600, 2056}};
  constexpr Size some_rows[] = {{600, 24}};
  expect_gradients_of_the_reference(test::sanitized ? std::span<const Size>(some_rows) : many_rows);
}

TEST(DropoutGradient, IsTheReference) {
  RandomTensors random;
  const Shared first_sample(far_sample);
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const double probability : {0.0, 0.1})
        for (const bool in_place : {false, true}) {
          SCOPED_TRACE(describe(size, type) + fmt::format(", dropout {}, in place {}", probability, in_place));
          const TestTensor dout = random.normal(type, {size.R, size.C}), in_and_out = dout;
          const TestTensor own(type, {size.R, size.C}), expected(type, {size.R, size.C});
          const TensorView out = in_place ? in_and_out.view() : own.view();
          ops::DropoutGradient arguments{.dout = in_place ? in_and_out : dout,
                                         .dbranch = out,
                                         .dropout = some_dropout(random, probability),
                                         .rows = {.first_sample = first_sample.get(), .first_row = 11, .sequence = 4}};
          ops::dropout_gradient(queue, arguments);
          arguments.dout = dout, arguments.dbranch = expected;
          reference::dropout_gradient(arguments);
          if (probability == 0) {
            EXPECT_TRUE(test::same_bits(out, dout));
          } else {
            EXPECT_TRUE(is_close(out, expected, tolerance_of(type)));
          }
        }
}

TEST(LayerNorm, BitsIgnoreOldMemory) {
  RandomTensors random;
  const Shared first_sample(far_sample);
  Queue queue;
  const Size size{37, 20};
  for (const DType type : types) {
    const TestTensor branch = random.normal(type, {37, 20}), stream = random.normal(type, {37, 20});
    const TestTensor vector = random.normal(DType::float32, {20});
    NormOutputs norm(type, size);
    TestTensor out(type, {37, 20}), dx(type, {37, 20}), dweight(DType::float32, {20}), dbias(DType::float32, {20});
    const ops::Residual residual{.residual = stream,
                                 .branch = branch,
                                 .bias = vector,
                                 .out = out,
                                 .dropout = some_dropout(random, 0.1),
                                 .rows = {.first_sample = first_sample.get(), .first_row = 0, .sequence = 37}};
    EXPECT_TRUE(test::ignores_old_memory(queue, {&out, &norm.y, &norm.mean, &norm.rstd}, [&] {
      ops::residual_layer_norm(queue, {residual, norm.arguments({}, vector, vector)});
    }));
    EXPECT_TRUE(test::ignores_old_memory(queue, {&dx, &dweight, &dbias}, [&] {
      ops::layer_norm_gradient(queue, {.dy = branch,
                                       .x = out,
                                       .weight = vector,
                                       .mean = norm.mean,
                                       .rstd = norm.rstd,
                                       .residual_gradient = {},
                                       .dx = dx,
                                       .dweight = dweight,
                                       .dbias = dbias,
                                       .accumulate = false});
    }));
  }
}

TEST(LayerNormReference, GradientsAreThoseOfFiniteDifferences) {
  // out = stream + dropout(branch + bias); value = <LayerNorm(out), dy> + <out, incoming>: a block's residual joint.
  RandomTensors random;
  const Shared first_sample(far_sample);
  const Shape shape{6, 12};
  const TestTensor stream = random.normal(DType::float64, shape), branch = random.normal(DType::float64, shape);
  const TestTensor bias = random.normal(DType::float64, {12}), weight = random.normal(DType::float64, {12});
  const TestTensor norm_bias = random.normal(DType::float64, {12});
  const TestTensor dy = random.normal(DType::float64, shape), incoming = random.normal(DType::float64, shape);
  const TestTensor out(DType::float64, shape), y(DType::float64, shape);
  const TestTensor mean(DType::float64, {6}), rstd(DType::float64, {6});
  const ops::Dropout dropout = some_dropout(random, 0.25);
  const ops::TokenRows rows{.first_sample = first_sample.get(), .first_row = 1, .sequence = 4};
  const auto value = [&] {
    reference::residual_layer_norm(
        {{.residual = stream, .branch = branch, .bias = bias, .out = out, .dropout = dropout, .rows = rows},
         {.x = {}, .weight = weight, .bias = norm_bias, .y = y, .mean = mean, .rstd = rstd}});
    return test::inner_product(y, dy) + test::inner_product(out, incoming);
  };
  value();
  const TestTensor dstream(DType::float64, shape), dbranch(DType::float64, shape);
  const TestTensor dweight = test::float64_zeros({12}), dnorm_bias = test::float64_zeros({12});
  reference::layer_norm_gradient({.dy = dy,
                                  .x = out,
                                  .weight = weight,
                                  .mean = mean,
                                  .rstd = rstd,
                                  .residual_gradient = incoming,
                                  .dx = dstream,
                                  .dweight = dweight,
                                  .dbias = dnorm_bias});
  reference::dropout_gradient({.dout = dstream, .dbranch = dbranch, .dropout = dropout, .rows = rows});
  EXPECT_LT(relative_difference(dstream, central_differences(stream, value)), test::difference_tolerance);
  EXPECT_LT(relative_difference(dbranch, central_differences(branch, value)), test::difference_tolerance);
  EXPECT_LT(relative_difference(dweight, central_differences(weight, value)), test::difference_tolerance);
  EXPECT_LT(relative_difference(dnorm_bias, central_differences(norm_bias, value)), test::difference_tolerance);
}

}  // namespace
}  // namespace penstock::layer_norm_test
