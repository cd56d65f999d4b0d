// SPDX-License-Identifier: Apache-2.0
// Every operation against the reference at sizes around those at which a backend with vectors of 8 or 16 numbers and
// tiles of 64 positions or 128 channels changes its course: one element, one row, a rest after whole vectors, head
// sizes that nothing divides. The other tests of an operation have the larger shapes and what may share memory.

#include <gtest/gtest.h>

#include "ops/reference/reference.hpp"
#include "support/random_tensor.hpp"

namespace penstock::odd_sizes_test {
namespace {

using test::is_close;
using test::RandomTensors;
using test::Shared;
using test::TestTensor;
using test::tolerance_of;

constexpr DType types[] = {DType::float32, DType::bfloat16};
constexpr std::int64_t head_sizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,   10,  11,  12,  13,  14, 15,
                                       16, 17, 31, 33, 63, 64, 65, 96, 127, 128, 129, 200, 256, 257};
constexpr std::int64_t sequences[] = {1, 2, 63, 64, 65, 129};
constexpr std::int64_t channels[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 65, 127, 129, 257};
constexpr std::int64_t row_numbers[] = {1, 3};

const std::uint64_t far_sample = (5ULL << 32) + 77;

/// One size of attention, forward and backward.
void expect_attention_of_the_reference(RandomTensors& random, const ops::AttentionShape& shape, DType type,
                                       double probability) {
  SCOPED_TRACE(fmt::format("B {} T {} H {} D {} {} dropout {}", shape.samples, shape.sequence, shape.heads,
                           shape.channels, name_of(type), probability));
  Queue queue({.threads = 2});
  const Shared<std::uint64_t> sample(far_sample);
  const Shape stream{shape.samples * shape.sequence, shape.heads * shape.channels};
  const TestTensor qkv = random.normal(type, {stream[0], 3 * stream[1]}, 1.5), dout = random.normal(type, stream);
  const TestTensor out(type, stream), log_sum_exp(DType::float32, {shape.samples, shape.heads, shape.sequence});
  const TestTensor expected_out = out, expected_log_sum_exp = log_sum_exp;
  ops::Attention forward{.shape = shape,
                         .qkv = qkv,
                         .out = out,
                         .log_sum_exp = log_sum_exp,
                         .dropout = {.probability = probability, .key = random.next_key()},
                         .first_sample = sample.get()};
  ops::attention(queue, forward);
  forward.out = expected_out, forward.log_sum_exp = expected_log_sum_exp;
  reference::attention(forward);
  // Few channels may all be small, and a log-sum-exp near 0: their errors are those of numbers of size 1.
  EXPECT_TRUE(is_close(out, expected_out, tolerance_of(type), 1));
  EXPECT_TRUE(is_close(log_sum_exp, expected_log_sum_exp, tolerance_of(type), 1));

  const TestTensor dqkv(type, qkv.view().shape()), expected_dqkv = dqkv;
  ops::AttentionGradient backward{.shape = shape,
                                  .qkv = qkv,
                                  .out = expected_out,
                                  .log_sum_exp = expected_log_sum_exp,
                                  .dout = dout,
                                  .dqkv = dqkv,
                                  .dropout = forward.dropout,
                                  .first_sample = sample.get()};
  ops::attention_gradient(queue, backward);
  backward.dqkv = expected_dqkv;
  reference::attention_gradient(backward);
  // As in AttentionGradient.IsTheReference: with one key, or a few, rounding is what is left of q's and k's gradients.
  const double tolerance = shape.sequence <= 2 && type == DType::bfloat16 ? 5e-2 : tolerance_of(type);
  EXPECT_TRUE(is_close(dqkv, expected_dqkv, tolerance, 1));
}

TEST(OddSizes, AttentionIsTheReference) {
  // Each head size with three of the sequences, each sequence with all sorts of head sizes.
  RandomTensors random;
  for (std::size_t i = 0; i < std::size(head_sizes); ++i) {
    const auto shape = [&](std::size_t sequence) {
      return ops::AttentionShape{.samples = 1,
                                 .sequence = sequences[sequence % std::size(sequences)],
                                 .heads = 1 + static_cast<std::int64_t>(i % 2),
                                 .channels = head_sizes[i],
                                 .first_head = static_cast<std::int64_t>(i)};
    };
    expect_attention_of_the_reference(random, shape(i), DType::float32, 0);
    expect_attention_of_the_reference(random, shape(i + 2), DType::float32, 0.2);
    expect_attention_of_the_reference(random, shape(i + 4), DType::bfloat16, i % 2 == 0 ? 0 : 0.2);
  }
}

TEST(OddSizes, AttentionOfEverySequenceIsTheReference) {
  RandomTensors random;
  for (const std::int64_t sequence : sequences)
    for (const std::int64_t size : {8, 15, 16, 24})
      for (const double probability : {0.0, 0.2})
        expect_attention_of_the_reference(random, {.samples = 2, .sequence = sequence, .heads = 1, .channels = size},
                                          DType::float32, probability);
}

// Numbers of which no row is nearly constant, where LayerNorm magnifies rounding: neighbours differ by 4 or so.
TestTensor unequal_numbers(RandomTensors& random, DType type, std::int64_t rows, std::int64_t columns) {
  const TestTensor tensor = random.normal(type, {rows, columns}, 0.5);
  reference::Values values = reference::read(tensor);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += i % 2 == 0 ? 2 : -2;
  reference::write(tensor, values);
  return tensor;
}

struct NormTensors {
  TestTensor y, mean, rstd;
  NormTensors(DType type, std::int64_t rows, std::int64_t columns)
      : y(type, {rows, columns}), mean(DType::float32, {rows}), rstd(DType::float32, {rows}) {}
};

TEST(OddSizes, ResidualLayerNormIsTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  const Shared<std::uint64_t> sample(far_sample);
  for (const std::int64_t C : channels)
    for (const std::int64_t R : row_numbers)
      for (const DType type : types)
        for (const double probability : {0.0, 0.2}) {
          SCOPED_TRACE(fmt::format("R {} C {} {} dropout {}", R, C, name_of(type), probability));
          const TestTensor stream = unequal_numbers(random, type, R, C), branch = random.normal(type, {R, C}, 0.2);
          const TestTensor bias = random.normal(DType::float32, {C}, 0.2), weight = random.normal(DType::float32, {C});
          const TestTensor out(type, {R, C}), expected_out = out;
          const NormTensors got(type, R, C), expected = got;
          ops::ResidualLayerNorm arguments{
              .residual = {.residual = stream,
                           .branch = branch,
                           .bias = bias,
                           .out = out,
                           .dropout = {.probability = probability, .key = random.next_key()},
                           .rows = {.first_sample = sample.get(), .first_row = 1, .sequence = 2}},
              .norm = {.x = {}, .weight = weight, .bias = bias, .y = got.y, .mean = got.mean, .rstd = got.rstd}};
          ops::residual_layer_norm(queue, arguments);
          arguments.residual.out = expected_out;
          arguments.norm.y = expected.y, arguments.norm.mean = expected.mean, arguments.norm.rstd = expected.rstd;
          reference::residual_layer_norm(arguments);
          EXPECT_TRUE(is_close(out, expected_out, tolerance_of(type), 1));
          EXPECT_TRUE(is_close(got.mean, expected.mean, tolerance_of(type), 1));
          if (C == 1) continue;  // rstd is 316, and y the bias but for 316 roundings
          EXPECT_TRUE(is_close(got.y, expected.y, tolerance_of(type), 1));
          EXPECT_TRUE(is_close(got.rstd, expected.rstd, tolerance_of(type)));
        }
}

TEST(OddSizes, LayerNormAndItsGradientAreTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  for (const std::int64_t C : channels)
    for (const std::int64_t R : row_numbers)
      for (const DType type : types) {
        SCOPED_TRACE(fmt::format("R {} C {} {}", R, C, name_of(type)));
        const TestTensor x = unequal_numbers(random, type, R, C), dy = random.normal(type, {R, C});
        const TestTensor weight = random.normal(DType::float32, {C}), bias = random.normal(DType::float32, {C});
        const NormTensors got(type, R, C), expected = got;
        ops::layer_norm(queue,
                        {.x = x, .weight = weight, .bias = bias, .y = got.y, .mean = got.mean, .rstd = got.rstd});
        reference::layer_norm(
            {.x = x, .weight = weight, .bias = bias, .y = expected.y, .mean = expected.mean, .rstd = expected.rstd});
        // Of one channel y is the bias; dx is nothing but 316 times a rounding of dy.
        EXPECT_TRUE(is_close(got.y, expected.y, tolerance_of(type), 1));
        EXPECT_TRUE(is_close(got.rstd, expected.rstd, tolerance_of(type)));
        const TestTensor dx(type, {R, C}), expected_dx = dx, residual = random.normal(type, {R, C});
        const TestTensor dweight = random.normal(DType::float32, {C}), dbias = random.normal(DType::float32, {C});
        const TestTensor expected_dweight = dweight, expected_dbias = dbias;
        ops::LayerNormGradient gradient{.dy = dy,
                                        .x = x,
                                        .weight = weight,
                                        .mean = expected.mean,
                                        .rstd = expected.rstd,
                                        .residual_gradient = residual,
                                        .dx = dx,
                                        .dweight = dweight,
                                        .dbias = dbias};
        ops::layer_norm_gradient(queue, gradient);
        gradient.dx = expected_dx, gradient.dweight = expected_dweight, gradient.dbias = expected_dbias;
        reference::layer_norm_gradient(gradient);
        EXPECT_TRUE(is_close(dx, expected_dx, (C == 1 ? 316 : 1) * tolerance_of(type), 1));
        EXPECT_TRUE(is_close(dweight, expected_dweight, tolerance_of(type), 1));
        EXPECT_TRUE(is_close(dbias, expected_dbias, tolerance_of(type), 1));
      }
}

TEST(OddSizes, DropoutGradientIsTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  const Shared<std::uint64_t> sample(far_sample);
  for (const std::int64_t C : channels)
    for (const std::int64_t R : row_numbers)
      for (const DType type : types) {
        SCOPED_TRACE(fmt::format("R {} C {} {}", R, C, name_of(type)));
        const TestTensor dout = random.normal(type, {R, C}), dbranch(type, {R, C}), expected = dbranch;
        ops::DropoutGradient arguments{.dout = dout,
                                       .dbranch = dbranch,
                                       .dropout = {.probability = 0.3, .key = random.next_key()},
                                       .rows = {.first_sample = sample.get(), .first_row = 2, .sequence = 2}};
        ops::dropout_gradient(queue, arguments);
        arguments.dbranch = expected;
        reference::dropout_gradient(arguments);
        EXPECT_TRUE(is_close(dbranch, expected, tolerance_of(type), 1));
      }
}

TEST(OddSizes, EmbeddingsAndTheirGradientsAreTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  const Shared<std::uint64_t> sample(far_sample);
  for (const std::int64_t C : channels)
    for (const std::int64_t R : row_numbers)
      for (const DType type : types) {
        SCOPED_TRACE(fmt::format("R {} C {} {}", R, C, name_of(type)));
        const TestTensor tokens = random.integers({R}, 0, 5), table = random.normal(type, {5, C});
        const TestTensor positions = random.normal(DType::float32, {4, C});
        const TestTensor token(type, {R, C}), out(type, {R, C}), expected_out = out;
        const ops::Dropout dropout{.probability = 0.2, .key = random.next_key()};
        const ops::TokenRows rows{.first_sample = sample.get(), .first_row = 3, .sequence = 4};
        ops::embedding(queue, {.tokens = tokens, .weight = table, .first_token = 0, .out = token});
        const TestTensor copied(type, {R, C});
        reference::embedding({.tokens = tokens, .weight = table, .first_token = 0, .out = copied});
        EXPECT_TRUE(test::same_bits(token, copied));
        ops::PositionEmbedding forward{
            .token = token, .weight = positions, .out = out, .dropout = dropout, .rows = rows};
        ops::position_embedding(queue, forward);
        forward.out = expected_out;
        reference::position_embedding(forward);
        EXPECT_TRUE(is_close(out, expected_out, tolerance_of(type), 1));

        const TestTensor dout = random.normal(type, {R, C}), dtoken(type, {R, C}), expected_dtoken = dtoken;
        const TestTensor dpositions = random.normal(DType::float32, {4, C}), expected_dpositions = dpositions;
        const TestTensor dtable = random.normal(DType::float32, {5, C}), expected_dtable = dtable;
        ops::PositionEmbeddingGradient backward{
            .dout = dout, .dtoken = dtoken, .dweight = dpositions, .dropout = dropout, .rows = rows};
        ops::position_embedding_gradient(queue, backward);
        ops::embedding_gradient(queue, {.tokens = tokens, .dout = dout, .first_token = 0, .dweight = dtable});
        backward.dtoken = expected_dtoken, backward.dweight = expected_dpositions;
        reference::position_embedding_gradient(backward);
        reference::embedding_gradient({.tokens = tokens, .dout = dout, .first_token = 0, .dweight = expected_dtable});
        EXPECT_TRUE(is_close(dtoken, expected_dtoken, tolerance_of(type), 1));
        EXPECT_TRUE(is_close(dpositions, expected_dpositions, tolerance_of(type), 1));
        EXPECT_TRUE(is_close(dtable, expected_dtable, tolerance_of(DType::float32), 1));
      }
}

TEST(OddSizes, SoftmaxLossIsTheReference) {
  // Columns that are real, of two more in memory; by itself, and from statistics that may come from several ranks.
  RandomTensors random;
  Queue queue({.threads = 2});
  for (const std::int64_t columns : channels)
    for (const std::int64_t N : row_numbers)
      for (const DType type : types) {
        SCOPED_TRACE(fmt::format("N {} columns {} {}", N, columns, name_of(type)));
        const TestTensor whole = random.normal(type, {N, columns + 2}, 2), expected = whole, apart = whole;
        const TestTensor targets = random.integers({N}, 0, static_cast<std::int32_t>(columns));
        const TestTensor loss(DType::float32, {N}), expected_loss = loss, loss_apart = loss;
        const TestTensor statistics(DType::float32, {1, N, 3});
        ops::WholeSoftmaxLoss arguments{
            .logits = whole, .targets = targets, .columns = columns, .loss = loss, .scale = 0.5F, .gradient = true};
        ops::whole_softmax_loss(queue, arguments);
        arguments.logits = expected, arguments.loss = expected_loss;
        reference::whole_softmax_loss(arguments);
        ops::softmax_statistics(queue, {.logits = apart,
                                        .targets = targets,
                                        .first_token = 0,
                                        .columns = columns,
                                        .statistics = statistics.view().reshaped({N, 3})});
        ops::softmax_loss(queue, {.logits = apart,
                                  .targets = targets,
                                  .first_token = 0,
                                  .columns = columns,
                                  .statistics = statistics,
                                  .loss = loss_apart,
                                  .scale = 0.5F,
                                  .gradient = true});
        for (const TestTensor* got : {&whole, &apart}) EXPECT_TRUE(is_close(*got, expected, tolerance_of(type), 0.1));
        for (const TestTensor* got : {&loss, &loss_apart})
          EXPECT_TRUE(is_close(*got, expected_loss, tolerance_of(type), 1));
      }
}

TEST(OddSizes, ProductsAreTheReference) {
  // With few rows and with several blocks of them, the last one short.
  struct Size {
    std::int64_t N, K, M;
  };
  constexpr Size sizes[] = {{1, 1, 17},  {1, 17, 9},   {1, 257, 33}, {2, 9, 7},    {3, 33, 1},   {63, 7, 15},
                            {65, 31, 1}, {257, 1, 17}, {259, 33, 9}, {300, 17, 1}, {385, 15, 31}};
  RandomTensors random;
  Queue queue({.threads = 2});
  for (const Size& size : sizes)
    for (const DType type : types) {
      SCOPED_TRACE(fmt::format("N {} K {} M {} {}", size.N, size.K, size.M, name_of(type)));
      const double scale = 1 / std::sqrt(static_cast<double>(size.K));
      const TestTensor x = random.normal(type, {size.N, size.K}), dy = random.normal(type, {size.N, size.M});
      const TestTensor weight = random.normal(type, {size.M, size.K}, scale),
                       bias = random.normal(DType::float32, {size.M});
      const TestTensor y(type, {size.N, size.M}), u(type, {size.N, size.M}), expected_y = y, expected_u = u;
      ops::linear(queue, {.x = x, .weight = weight, .bias = bias, .y = y, .pre_activation = u});
      reference::linear({.x = x, .weight = weight, .bias = bias, .y = expected_y, .pre_activation = expected_u});
      EXPECT_TRUE(is_close(y, expected_y, tolerance_of(type), 1));
      EXPECT_TRUE(is_close(u, expected_u, tolerance_of(type), 1));
      const TestTensor before = random.normal(type, {size.N, size.K}), dx(type, {size.N, size.K}), expected_dx = dx;
      ops::linear_input_gradient(queue, {.dy = dy, .weight = weight, .dx = dx, .pre_activation = before});
      reference::linear_input_gradient({.dy = dy, .weight = weight, .dx = expected_dx, .pre_activation = before});
      EXPECT_TRUE(is_close(dx, expected_dx, tolerance_of(type), 1));
      const TestTensor dweight = random.normal(DType::float32, {size.M, size.K}), expected_dweight = dweight;
      const TestTensor dbias = random.normal(DType::float32, {size.M}), expected_dbias = dbias;
      ops::linear_weight_gradient(queue, {.dy = dy, .x = x, .dweight = dweight, .dbias = dbias});
      reference::linear_weight_gradient({.dy = dy, .x = x, .dweight = expected_dweight, .dbias = expected_dbias});
      EXPECT_TRUE(is_close(dweight, expected_dweight, tolerance_of(DType::float32), 1));
      EXPECT_TRUE(is_close(dbias, expected_dbias, tolerance_of(DType::float32), 1));
    }
}

TEST(OddSizes, ElementByElementOperationsAreTheReference) {
  RandomTensors random;
  Queue queue({.threads = 2});
  const Shared step(
      ops::AdamWStep{.learning_rate = 0.02F, .gradient_scale = 0.5F, .first_correction = 2, .second_correction = 3});
  for (std::int64_t n = 1; n <= 35; ++n) {
    SCOPED_TRACE(fmt::format("{} elements", n));
    for (const DType type : types) {
      const TestTensor u = random.normal(type, {n}, 2), y(type, {n}), expected_y = y;
      ops::gelu(queue, {.pre_activation = u, .y = y});
      reference::gelu({.pre_activation = u, .y = expected_y});
      EXPECT_TRUE(is_close(y, expected_y, tolerance_of(type), 1));
      for (const DType to_type : types) {
        const TestTensor to(to_type, {n}), expected_to = to;
        ops::cast(queue, u, to);
        reference::cast(u, expected_to);
        EXPECT_TRUE(test::same_bits(to, expected_to));
      }
      const TestTensor sum(DType::float64, {1}), expected_sum(DType::float64, {1});
      for (const TestTensor* place : {&sum, &expected_sum}) reference::write(*place, {0.25});
      const ops::NormPiece piece{.tensor = u, .addend = {}, .sum = sum};
      const ops::NormPiece expected_piece{.tensor = u, .addend = {}, .sum = expected_sum};
      ops::add_squared_norms(queue, std::span(&piece, 1));
      reference::add_squared_norms(std::span(&expected_piece, 1));
      EXPECT_TRUE(is_close(sum, expected_sum, 1e-12));
    }
    const TestTensor master = random.normal(DType::float32, {n}), gradient = random.normal(DType::float32, {n}, 0.3);
    const TestTensor first = random.normal(DType::float32, {n}, 0.1), second = random.normal(DType::float32, {n}, 0.1);
    for (std::int64_t i = 0; i < n; ++i) second.view().data<float>()[i] *= second.view().data<float>()[i];
    const TestTensor weight(DType::bfloat16, {n});
    const TestTensor expected_master = master, expected_first = first, expected_second = second, rounded = weight;
    const ops::AdamWPiece piece{.master = master,
                                .gradient = gradient,
                                .addend = {},
                                .first_moment = first,
                                .second_moment = second,
                                .weight = weight,
                                .decay = true};
    const ops::AdamWPiece expected{.master = expected_master,
                                   .gradient = gradient,
                                   .addend = {},
                                   .first_moment = expected_first,
                                   .second_moment = expected_second,
                                   .weight = rounded,
                                   .decay = true};
    ops::adamw(queue, {}, step.get(), std::span(&piece, 1));
    reference::adamw({}, step.get(), std::span(&expected, 1));
    EXPECT_TRUE(is_close(master, expected_master, tolerance_of(DType::float32), 1));
    EXPECT_TRUE(is_close(first, expected_first, tolerance_of(DType::float32), 0.1));
    EXPECT_TRUE(is_close(second, expected_second, tolerance_of(DType::float32), 0.01));
    reference::cast(master, rounded);
    EXPECT_TRUE(test::same_bits(weight, rounded));
  }
}

}  // namespace
}  // namespace penstock::odd_sizes_test
