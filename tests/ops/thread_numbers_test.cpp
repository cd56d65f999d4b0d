// SPDX-License-Identifier: Apache-2.0
// Every operation has the same bits with 1, 2 and 3 threads: sums are cut by shapes, never by threads (the table in
// docs/decisions.md, "Where sums are taken").

#include <gtest/gtest.h>

#include <functional>

#include "ops/reference/reference.hpp"
#include "ops/sum.hpp"
#include "support/random_tensor.hpp"

namespace penstock::thread_numbers_test {
namespace {

using test::RandomTensors;
using test::Shared;
using test::TestTensor;

constexpr DType types[] = {DType::float32, DType::bfloat16};
const std::uint64_t far_sample = (3ULL << 32) + 9;

/// Runs an operation that writes to tensors of its own with each number of threads. `outputs` start as they are here.
using Run = std::function<void(Queue& queue, const std::vector<TestTensor>& outputs)>;

void expect_same_bits(const std::vector<TestTensor>& outputs, const Run& run) {
  std::vector<TestTensor> with_one = outputs;
  Queue one({.threads = 1});
  run(one, with_one);
  for (const int threads : {2, 3}) {
    std::vector<TestTensor> with_more = outputs;
    Queue queue({.threads = threads});
    run(queue, with_more);
    for (std::size_t i = 0; i < outputs.size(); ++i)
      EXPECT_TRUE(test::same_bits(with_more[i], with_one[i])) << "output " << i << " with " << threads << " threads";
  }
}

TEST(ThreadNumbers, DoNotChangeAttention) {
  RandomTensors random;
  const Shared<std::uint64_t> sample(far_sample);
  // One head, which threads have to share, and heads that they share out; a last block of queries that is short.
  for (const ops::AttentionShape& shape : {ops::AttentionShape{.sequence = 333, .heads = 1, .channels = 17},
                                           {.samples = 2, .sequence = 129, .heads = 3, .channels = 24},
                                           {.samples = 5, .sequence = 31, .heads = 1, .channels = 64}})
    for (const DType type : types)
      for (const double probability : {0.0, 0.2}) {
        SCOPED_TRACE(fmt::format("T {} H {} {} dropout {}", shape.sequence, shape.heads, name_of(type), probability));
        const Shape stream{shape.samples * shape.sequence, shape.heads * shape.channels};
        const TestTensor qkv = random.normal(type, {stream[0], 3 * stream[1]}), dout = random.normal(type, stream);
        const TestTensor log_sum_exp(DType::float32, {shape.samples, shape.heads, shape.sequence});
        const ops::Dropout dropout{.probability = probability, .key = random.next_key()};
        expect_same_bits({TestTensor(type, stream), log_sum_exp, TestTensor(type, qkv.view().shape())},
                         [&](Queue& queue, const std::vector<TestTensor>& outputs) {
                           ops::attention(queue, {.shape = shape,
                                                  .qkv = qkv,
                                                  .out = outputs[0],
                                                  .log_sum_exp = outputs[1],
                                                  .dropout = dropout,
                                                  .first_sample = sample.get()});
                           ops::attention_gradient(queue, {.shape = shape,
                                                           .qkv = qkv,
                                                           .out = outputs[0],
                                                           .log_sum_exp = outputs[1],
                                                           .dout = dout,
                                                           .dqkv = outputs[2],
                                                           .dropout = dropout,
                                                           .first_sample = sample.get()});
                         });
      }
}

TEST(ThreadNumbers, DoNotChangeNorms) {
  RandomTensors random;
  const Shared<std::uint64_t> sample(far_sample);
  for (const DType type : types)
    for (const auto& [R, C] : {std::pair<std::int64_t, std::int64_t>{333, 41}, {5, 3001}}) {
      SCOPED_TRACE(fmt::format("R {} C {} {}", R, C, name_of(type)));
      const Shape shape{R, C};
      const TestTensor stream = random.normal(type, shape), branch = random.normal(type, shape);
      const TestTensor weight = random.normal(DType::float32, {C}), dy = random.normal(type, shape);
      const ops::Dropout dropout{.probability = 0.2, .key = random.next_key()};
      const ops::TokenRows rows{.first_sample = sample.get(), .first_row = 3, .sequence = 50};
      const TestTensor of_rows(DType::float32, {R}), of_channels = random.normal(DType::float32, {C});
      expect_same_bits(
          {TestTensor(type, shape), TestTensor(type, shape), of_rows, of_rows, TestTensor(type, shape), of_channels,
           of_channels, TestTensor(type, shape), TestTensor(type, shape)},
          [&](Queue& queue, const std::vector<TestTensor>& outputs) {
            const ops::LayerNorm norm{
                .x = {}, .weight = weight, .bias = weight, .y = outputs[1], .mean = outputs[2], .rstd = outputs[3]};
            ops::residual_layer_norm(queue, {.residual = {.residual = stream,
                                                          .branch = branch,
                                                          .bias = weight,
                                                          .out = outputs[0],
                                                          .dropout = dropout,
                                                          .rows = rows},
                                             .norm = norm});
            ops::layer_norm_gradient(queue, {.dy = dy,
                                             .x = outputs[0],
                                             .weight = weight,
                                             .mean = outputs[2],
                                             .rstd = outputs[3],
                                             .residual_gradient = branch,
                                             .dx = outputs[4],
                                             .dweight = outputs[5],
                                             .dbias = outputs[6]});
            ops::dropout_gradient(queue, {.dout = outputs[4], .dbranch = outputs[7], .dropout = dropout, .rows = rows});
            ops::residual(queue, {.residual = {},
                                  .branch = branch,
                                  .bias = weight,
                                  .out = outputs[8],
                                  .dropout = dropout,
                                  .rows = rows});
          });
    }
}

TEST(ThreadNumbers, DoNotChangeProducts) {
  // Rows that are few for some of the numbers of threads, and many for all.
  RandomTensors random;
  for (const DType type : types)
    for (const std::int64_t rows : {1, 37, 200, 300, 1100}) {
      SCOPED_TRACE(fmt::format("{} rows {}", rows, name_of(type)));
      const std::int64_t K = 72, M = 104;
      const TestTensor x = random.normal(type, {rows, K}), weight = random.normal(type, {M, K}, 0.1);
      const TestTensor bias = random.normal(DType::float32, {M}), dy = random.normal(type, {rows, M});
      expect_same_bits(
          {TestTensor(type, {rows, M}), TestTensor(type, {rows, M}), TestTensor(type, {rows, K}),
           TestTensor(DType::float32, {M, K}), TestTensor(DType::float32, {M})},
          [&](Queue& queue, const std::vector<TestTensor>& outputs) {
            ops::linear(queue, {.x = x, .weight = weight, .bias = bias, .y = outputs[0], .pre_activation = outputs[1]});
            ops::linear_input_gradient(queue, {.dy = dy, .weight = weight, .dx = outputs[2], .pre_activation = x});
            ops::linear_weight_gradient(
                queue, {.dy = dy, .x = x, .dweight = outputs[3], .dbias = outputs[4], .accumulate = false});
          });
    }
}

TEST(ThreadNumbers, DoNotChangeLongSums) {
  RandomTensors random;
  const std::int64_t rows = 4100, C = 64;
  const TestTensor x = random.normal(DType::bfloat16, {rows, C}), dy = random.normal(DType::bfloat16, {rows, C});
  for (const DType type : types)
    expect_same_bits({TestTensor(type, {C, C})}, [&](Queue& queue, const std::vector<TestTensor>& outputs) {
      ops::linear_weight_gradient(queue, {.dy = dy, .x = x, .dweight = outputs[0], .dbias = {}, .accumulate = false});
    });
}

TEST(ThreadNumbers, DoNotChangeEmbeddings) {
  RandomTensors random;
  const Shared<std::uint64_t> sample(far_sample);
  for (const DType type : types) {
    SCOPED_TRACE(name_of(type));
    const std::int64_t R = 300, C = 41, vocabulary = 19, positions = 50;
    const TestTensor tokens = random.integers({R}, 0, vocabulary), table = random.normal(type, {vocabulary, C});
    const TestTensor positional = random.normal(DType::float32, {positions, C}), dout = random.normal(type, {R, C});
    const ops::Dropout dropout{.probability = 0.2, .key = random.next_key()};
    const ops::TokenRows rows{.first_sample = sample.get(), .first_row = 3, .sequence = positions};
    const TestTensor stream(type, {R, C});
    expect_same_bits(
        {stream, stream, stream, random.normal(DType::float32, {positions, C}),
         random.normal(DType::float32, {vocabulary, C})},
        [&](Queue& queue, const std::vector<TestTensor>& outputs) {
          ops::embedding(queue, {.tokens = tokens, .weight = table, .first_token = 0, .out = outputs[0]});
          ops::position_embedding(
              queue, {.token = outputs[0], .weight = positional, .out = outputs[1], .dropout = dropout, .rows = rows});
          ops::position_embedding_gradient(
              queue, {.dout = dout, .dtoken = outputs[2], .dweight = outputs[3], .dropout = dropout, .rows = rows});
          ops::embedding_gradient(queue,
                                  {.tokens = tokens, .dout = outputs[2], .first_token = 0, .dweight = outputs[4]});
        });
  }
}

TEST(ThreadNumbers, DoNotChangeLosses) {
  RandomTensors random;
  for (const DType type : types)
    for (const auto& [N, columns] : {std::pair<std::int64_t, std::int64_t>{130, 61}, {2, 50257}}) {
      SCOPED_TRACE(fmt::format("N {} columns {} {}", N, columns, name_of(type)));
      const TestTensor logits = random.normal(type, {N, columns}, 2);
      const TestTensor targets = random.integers({N}, 0, static_cast<std::int32_t>(columns));
      const TestTensor loss(DType::float32, {N}), statistics(DType::float32, {1, N, 3});
      const std::int64_t of = columns;  // a lambda may not name a structured binding
      const std::int64_t rows = N;
      expect_same_bits({logits, loss, logits, loss, statistics},
                       [&](Queue& queue, const std::vector<TestTensor>& outputs) {
                         ops::whole_softmax_loss(queue, {.logits = outputs[0],
                                                         .targets = targets,
                                                         .columns = of,
                                                         .loss = outputs[1],
                                                         .scale = 0.125F,
                                                         .gradient = true});
                         ops::softmax_statistics(queue, {.logits = outputs[2],
                                                         .targets = targets,
                                                         .first_token = 0,
                                                         .columns = of,
                                                         .statistics = outputs[4].view().reshaped({rows, 3})});
                         ops::softmax_loss(queue, {.logits = outputs[2],
                                                   .targets = targets,
                                                   .first_token = 0,
                                                   .columns = of,
                                                   .statistics = outputs[4],
                                                   .loss = outputs[3],
                                                   .scale = 0.125F,
                                                   .gradient = true});
                       });
    }
}

TEST(ThreadNumbers, DoNotChangeElementByElementOperationsAndSums) {
  RandomTensors random;
  const Shared step(
      ops::AdamWStep{.learning_rate = 0.02F, .gradient_scale = 0.5F, .first_correction = 2, .second_correction = 3});
  for (const std::int64_t n : {5, 30011}) {
    SCOPED_TRACE(fmt::format("{} elements", n));
    const TestTensor numbers = random.normal(DType::float32, {n}), other = random.normal(DType::float32, {n});
    TestTensor squares = random.normal(DType::float32, {n});
    for (std::int64_t i = 0; i < n; ++i) squares.view().data<float>()[i] *= squares.view().data<float>()[i];
    TestTensor sum(DType::float64, {1});
    sum.fill(0);
    const TestTensor floats(DType::float32, {n}), halves(DType::bfloat16, {n});
    expect_same_bits({numbers, other, squares, halves, floats, halves, sum, sum, floats},
                     [&](Queue& queue, const std::vector<TestTensor>& outputs) {
                       const ops::AdamWPiece piece{.master = outputs[0],
                                                   .gradient = other,
                                                   .addend = {},
                                                   .first_moment = outputs[1],
                                                   .second_moment = outputs[2],
                                                   .weight = outputs[3],
                                                   .decay = true};
                       ops::adamw(queue, {}, step.get(), std::span(&piece, 1));
                       ops::gelu(queue, {.pre_activation = numbers, .y = outputs[4]});
                       ops::cast(queue, numbers, outputs[5]);
                       const ops::NormPiece norm{.tensor = numbers, .addend = {}, .sum = outputs[6]};
                       ops::add_squared_norms(queue, std::span(&norm, 1));
                       ops::add_sum(queue, numbers, outputs[7].view().data<double>());
                       ops::add(queue, numbers, other, outputs[8]);
                     });
  }
}

}  // namespace
}  // namespace penstock::thread_numbers_test
