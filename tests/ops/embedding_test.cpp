// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/embedding.hpp"

#include <gtest/gtest.h>

#include "ops/reference/reference.hpp"
#include "support/finite_differences.hpp"
#include "support/random_tensor.hpp"

namespace penstock::embedding_test {
namespace {

using test::is_close;
using test::RandomTensors;
using test::Shared;
using test::TestTensor;
using test::tolerance_of;

struct Size {
  std::int64_t rows, C;
};
constexpr Size sizes[] = {{1, 8}, {7, 20}, {100, 64}, {9, 768}, {5, 13}, {300, 3}};
constexpr DType types[] = {DType::float32, DType::bfloat16};
constexpr std::int64_t vocabulary = 50, positions = 16;

const std::uint64_t far_sample = (7ULL << 32) + 12345;

std::string describe(const Size& size, DType type) {
  return fmt::format("rows {} C {} {}", size.rows, size.C, name_of(type));
}

// Where a table of 50 tokens is cut: whole, an upper part, and a part that holds none of the tokens drawn.
struct Cut {
  std::int32_t first, count;
};
constexpr Cut cuts[] = {{0, 50}, {0, 17}, {17, 33}, {1000, 8}};

TEST(Embedding, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const Cut& cut : cuts) {
        SCOPED_TRACE(describe(size, type) + fmt::format(", tokens from {}", cut.first));
        const TestTensor tokens = random.integers({size.rows}, 0, vocabulary);
        const TestTensor weight = random.normal(type, {cut.count, size.C});
        const TestTensor out(type, {size.rows, size.C}), expected(type, {size.rows, size.C});
        ops::embedding(queue, {.tokens = tokens, .weight = weight, .first_token = cut.first, .out = out});
        reference::embedding({.tokens = tokens, .weight = weight, .first_token = cut.first, .out = expected});
        EXPECT_TRUE(test::same_bits(out, expected));  // rows are copied
      }
}

TEST(EmbeddingGradient, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const Cut& cut : cuts)
        for (const bool accumulate : {true, false}) {
          SCOPED_TRACE(describe(size, type) + fmt::format(", tokens from {}, accumulate {}", cut.first, accumulate));
          const TestTensor tokens = random.integers({size.rows}, 0, vocabulary);
          const TestTensor dout = random.normal(type, {size.rows, size.C});
          const TestTensor dweight = random.normal(DType::float32, {cut.count, size.C}), expected = dweight;
          ops::EmbeddingGradient arguments{
              .tokens = tokens, .dout = dout, .first_token = cut.first, .dweight = dweight, .accumulate = accumulate};
          ops::embedding_gradient(queue, arguments);
          arguments.dweight = expected;
          reference::embedding_gradient(arguments);
          // The sums are float32 whatever dout is.
          EXPECT_TRUE(is_close(dweight, expected, tolerance_of(DType::float32)));
        }
}

TEST(EmbeddingGradient, AddsInTheOrderOfTheTokens) {
  // One token, numbers of very different size: another order would give other bits, on any number of threads.
  RandomTensors random;
  const std::int64_t N = 300, C = 24;
  const TestTensor tokens = random.integers({N}, 3, 5);
  TestTensor dout = random.normal(DType::float32, {N, C});
  for (std::int64_t i = 0; i < N * C; ++i) dout.view().data<float>()[i] *= i % 3 == 0 ? 1e6F : 1.0F;
  const TestTensor expected = random.normal(DType::float32, {8, C}), start = expected;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t c = 0; c < C; ++c)
      expected.view().data<float>()[tokens.view().data<std::int32_t>()[n] * C + c] +=
          dout.view().data<float>()[n * C + c];
  for (const int threads : {1, 2, 3}) {
    Queue queue({.threads = threads});
    const TestTensor dweight = start;
    ops::embedding_gradient(queue, {.tokens = tokens, .dout = dout, .first_token = 0, .dweight = dweight});
    EXPECT_TRUE(test::same_bits(dweight, expected)) << threads << " threads";
  }
}

// A token table as GPT-2's, and one of bytes; more tokens than a backend looks at in one go, a few of them in most
// places, as in text.
TEST(EmbeddingGradient, OfManyTokensHasTheBitsOfTheirOrder) {
  RandomTensors random;
  Queue queue;
  for (const std::int32_t table : {256, 50257})
    for (const DType type : types)
      for (const std::int64_t C : {12, 133}) {
        SCOPED_TRACE(fmt::format("table {} C {} {}", table, C, name_of(type)));
        const std::int64_t N = 5000;
        const TestTensor tokens = random.integers({N}, 0, table), frequent = random.integers({N}, 0, 6);
        for (std::int64_t n = 0; n < N; ++n)
          if (frequent.view().data<std::int32_t>()[n] > 1)
            tokens.view().data<std::int32_t>()[n] = table / 7 * frequent.view().data<std::int32_t>()[n];
        const TestTensor dout = random.normal(type, {N, C});
        const TestTensor dweight = random.normal(DType::float32, {table, C}), expected = dweight;
        const reference::Values slopes = reference::read(dout);
        for (std::int64_t n = 0; n < N; ++n)
          for (std::int64_t c = 0; c < C; ++c)
            expected.view().data<float>()[tokens.view().data<std::int32_t>()[n] * C + c] +=
                static_cast<float>(slopes[reference::at(n, c, C)]);
        ops::embedding_gradient(queue, {.tokens = tokens, .dout = dout, .first_token = 0, .dweight = dweight});
        EXPECT_TRUE(test::same_bits(dweight, expected));
      }
}

TEST(PositionEmbedding, IsTheReference) {
  RandomTensors random;
  const Shared first_sample(far_sample);
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const double probability : {0.0, 0.1})
        for (const std::int64_t first_row : {0, 11})
          for (const bool in_place : {false, true}) {
            SCOPED_TRACE(describe(size, type) +
                         fmt::format(", dropout {} first row {} in place {}", probability, first_row, in_place));
            const TestTensor token = random.normal(type, {size.rows, size.C}), in_and_out = token;
            const TestTensor weight = random.normal(DType::float32, {positions, size.C});
            const TestTensor own(type, {size.rows, size.C}), expected(type, {size.rows, size.C});
            const TensorView out = in_place ? in_and_out.view() : own.view();
            ops::PositionEmbedding arguments{
                .token = in_place ? in_and_out : token,
                .weight = weight,
                .out = out,
                .dropout = {.probability = probability, .key = random.next_key()},
                .rows = {.first_sample = first_sample.get(), .first_row = first_row, .sequence = 7}};
            ops::position_embedding(queue, arguments);
            arguments.token = token, arguments.out = expected;
            reference::position_embedding(arguments);
            EXPECT_TRUE(is_close(out, expected, tolerance_of(type)));
          }
}

TEST(PositionEmbeddingGradient, IsTheReference) {
  RandomTensors random;
  const Shared first_sample(far_sample);
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const double probability : {0.0, 0.1})
        for (const std::int64_t first_row : {0, 11})
          for (const bool accumulate : {true, false}) {
            const bool in_place = accumulate == (first_row == 0);
            SCOPED_TRACE(describe(size, type) + fmt::format(", dropout {} first row {} in place {} accumulate {}",
                                                            probability, first_row, in_place, accumulate));
            const TestTensor dout = random.normal(type, {size.rows, size.C}), in_and_out = dout;
            const TestTensor own(type, {size.rows, size.C}), dtoken_expected(type, {size.rows, size.C});
            const TestTensor dweight = random.normal(DType::float32, {positions, size.C}), dweight_expected = dweight;
            const TensorView dtoken = in_place ? in_and_out.view() : own.view();
            ops::PositionEmbeddingGradient arguments{
                .dout = in_place ? in_and_out : dout,
                .dtoken = dtoken,
                .dweight = dweight,
                .dropout = {.probability = probability, .key = random.next_key()},
                .rows = {.first_sample = first_sample.get(), .first_row = first_row, .sequence = 7},
                .accumulate = accumulate};
            ops::position_embedding_gradient(queue, arguments);
            arguments.dout = dout, arguments.dtoken = dtoken_expected, arguments.dweight = dweight_expected;
            reference::position_embedding_gradient(arguments);
            EXPECT_TRUE(is_close(dtoken, dtoken_expected, tolerance_of(type)));
            EXPECT_TRUE(is_close(dweight, dweight_expected, tolerance_of(type)));
          }
}

TEST(PositionEmbeddingGradient, AddsInTheOrderOfTheRows) {
  // Whole samples and parts of them; fewer rows than positions; one sample.
  RandomTensors random;
  Queue queue;
  const Shared first_sample(far_sample);
  struct Rows {
    std::int64_t count, first, sequence;
  };
  for (const Rows& rows : {Rows{210, 0, 70}, {100, 35, 70}, {13, 69, 70}, {70, 0, 70}, {50, 3, 1}}) {
    SCOPED_TRACE(fmt::format("{} rows from {}, sequence {}", rows.count, rows.first, rows.sequence));
    const std::int64_t C = 20;
    const TestTensor dout = random.normal(DType::float32, {rows.count, C}), dtoken(DType::float32, {rows.count, C});
    for (std::int64_t i = 0; i < rows.count * C; ++i) dout.view().data<float>()[i] *= i / C % 3 == 0 ? 1e6F : 1.0F;
    const TestTensor dweight = random.normal(DType::float32, {rows.sequence, C}), expected = dweight;
    const ops::PositionEmbeddingGradient arguments{
        .dout = dout,
        .dtoken = dtoken,
        .dweight = dweight,
        .dropout = {.probability = 0.1, .key = random.next_key()},
        .rows = {.first_sample = first_sample.get(), .first_row = rows.first, .sequence = rows.sequence}};
    ops::position_embedding_gradient(queue, arguments);
    for (std::int64_t r = 0; r < rows.count; ++r)
      for (std::int64_t c = 0; c < C; ++c)
        expected.view().data<float>()[arguments.rows.position(r) * C + c] += dtoken.view().data<float>()[r * C + c];
    EXPECT_TRUE(test::same_bits(dweight, expected));
  }
}

TEST(PositionEmbeddingGradient, BitsDoNotDependOnThreads) {
  RandomTensors random;
  const Shared first_sample(far_sample);
  const TestTensor dout = random.normal(DType::float32, {70, 24}),
                   start = random.normal(DType::float32, {positions, 24});
  const ops::Dropout dropout{.probability = 0.1, .key = random.next_key()};
  std::vector<TestTensor> results;
  for (const int threads : {1, 2, 3}) {
    Queue queue({.threads = threads});
    const TestTensor dtoken(DType::float32, {70, 24}), dweight = start;
    ops::position_embedding_gradient(
        queue,
        {.dout = dout, .dtoken = dtoken, .dweight = dweight, .dropout = dropout, .rows = {first_sample.get(), 0, 14}});
    results.push_back(dweight);
  }
  EXPECT_TRUE(test::same_bits(results[0], results[1]));
  EXPECT_TRUE(test::same_bits(results[0], results[2]));
}

TEST(Embedding, BitsIgnoreOldMemory) {
  RandomTensors random;
  const Shared first_sample(far_sample);
  Queue queue;
  for (const DType type : types) {
    const TestTensor tokens = random.integers({37}, 0, vocabulary), weight = random.normal(type, {20, 20});
    const TestTensor positional = random.normal(DType::float32, {positions, 20}), dout = random.normal(type, {37, 20});
    const ops::Dropout dropout{.probability = 0.1, .key = random.next_key()};
    const ops::TokenRows rows{.first_sample = first_sample.get(), .first_row = 3, .sequence = 16};
    TestTensor out(type, {37, 20}), dtoken(type, {37, 20});
    TestTensor dtable(DType::float32, {20, 20}), dpositional(DType::float32, {positions, 20});
    EXPECT_TRUE(test::ignores_old_memory(queue, {&out}, [&] {
      ops::embedding(queue, {.tokens = tokens, .weight = weight, .first_token = 10, .out = out});
    }));
    EXPECT_TRUE(test::ignores_old_memory(queue, {&out}, [&] {
      ops::position_embedding(queue,
                              {.token = dout, .weight = positional, .out = out, .dropout = dropout, .rows = rows});
    }));
    EXPECT_TRUE(test::ignores_old_memory(queue, {&dtoken, &dtable, &dpositional}, [&] {
      ops::position_embedding_gradient(queue, {.dout = dout,
                                               .dtoken = dtoken,
                                               .dweight = dpositional,
                                               .dropout = dropout,
                                               .rows = rows,
                                               .accumulate = false});
      ops::embedding_gradient(
          queue, {.tokens = tokens, .dout = dtoken, .first_token = 10, .dweight = dtable, .accumulate = false});
    }));
  }
}

TEST(EmbeddingReference, GradientsAreThoseOfFiniteDifferences) {
  // out = dropout(table[tokens] + positional), with the table cut so that some tokens are another rank's.
  RandomTensors random;
  const Shared first_sample(far_sample);
  const std::int64_t N = 9, C = 4, sequence = 5;
  const TestTensor tokens = random.integers({N}, 0, 12), table = random.normal(DType::float64, {8, C});
  const TestTensor positional = random.normal(DType::float64, {sequence, C}),
                   dout = random.normal(DType::float64, {N, C});
  const TestTensor token(DType::float64, {N, C}), out(DType::float64, {N, C}), dtoken(DType::float64, {N, C});
  const ops::Dropout dropout{.probability = 0.25, .key = random.next_key()};
  const ops::TokenRows rows{.first_sample = first_sample.get(), .first_row = 2, .sequence = sequence};
  const auto value = [&] {
    reference::embedding({.tokens = tokens, .weight = table, .first_token = 2, .out = token});
    reference::position_embedding({.token = token, .weight = positional, .out = out, .dropout = dropout, .rows = rows});
    return test::inner_product(out, dout);
  };
  const TestTensor dtable = test::float64_zeros({8, C}), dpositional = test::float64_zeros({sequence, C});
  reference::position_embedding_gradient(
      {.dout = dout, .dtoken = dtoken, .dweight = dpositional, .dropout = dropout, .rows = rows});
  reference::embedding_gradient({.tokens = tokens, .dout = dtoken, .first_token = 2, .dweight = dtable});
  EXPECT_LT(relative_difference(dtable, central_differences(table, value)), test::difference_tolerance);
  EXPECT_LT(relative_difference(dpositional, central_differences(positional, value)), test::difference_tolerance);
}

}  // namespace
}  // namespace penstock::embedding_test
