// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/softmax_loss.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "ops/reference/reference.hpp"
#include "support/finite_differences.hpp"
#include "support/random_tensor.hpp"

namespace penstock::softmax_loss_test {
namespace {

using test::is_close;
using test::RandomTensors;
using test::TestTensor;
using test::tolerance_of;

constexpr DType types[] = {DType::float32, DType::bfloat16};

// A vocabulary of `columns` real tokens from `first_token` on, in V_local columns.
struct Size {
  std::int64_t N, V_local, columns, first_token;
};
constexpr Size sizes[] = {{1, 128, 128, 0},   {7, 128, 100, 0},     {33, 128, 100, 128},
                          {5, 128, 0, 256},   {9, 384, 1, 0},       {20, 60, 60, 120},
                          {3, 1024, 1000, 0}, {2, 50304, 50257, 0}, {2, 50257, 50257, 0}};

std::string describe(const Size& size, DType type) {
  return fmt::format("N {} V_local {} columns {} first token {} {}", size.N, size.V_local, size.columns,
                     size.first_token, name_of(type));
}

// Real logits of size 2; NaN in the padding columns, which must not be looked at.
TestTensor padded_logits(RandomTensors& random, DType type, const Size& size) {
  TestTensor logits = random.normal(type, {size.N, size.V_local}, 2);
  reference::Values values = reference::read(logits);
  for (std::int64_t n = 0; n < size.N; ++n)
    for (std::int64_t v = size.columns; v < size.V_local; ++v)
      values[reference::at(n, v, size.V_local)] = std::numeric_limits<double>::quiet_NaN();
  reference::write(logits, values);
  return logits;
}

TEST(SoftmaxStatistics, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types) {
      SCOPED_TRACE(describe(size, type));
      const TestTensor logits = padded_logits(random, type, size);
      const TestTensor targets = random.integers({size.N}, 0, 300);
      const TestTensor got(DType::float32, {size.N, 3}), expected(DType::float32, {size.N, 3});
      ops::SoftmaxStatistics arguments{.logits = logits,
                                       .targets = targets,
                                       .first_token = size.first_token,
                                       .columns = size.columns,
                                       .statistics = got};
      ops::softmax_statistics(queue, arguments);
      arguments.statistics = expected;
      reference::softmax_statistics(arguments);
      EXPECT_TRUE(is_close(got, expected, tolerance_of(type)));
    }
}

TEST(SoftmaxLoss, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const bool gradient : {false, true}) {
        SCOPED_TRACE(describe(size, type) + (gradient ? ", gradient" : ""));
        // Two ranks: this one's columns and another's, whose logits are only known by their statistics.
        const TestTensor logits = padded_logits(random, type, size), before = logits, expected_logits = logits;
        const TestTensor targets = random.integers({size.N}, 0, 300);
        const TestTensor statistics(DType::float32, {2, size.N, 3});
        const TestTensor other = random.normal(type, {size.N, 40}, 2);
        reference::softmax_statistics({.logits = other,
                                       .targets = targets,
                                       .first_token = 1000,
                                       .columns = 40,
                                       .statistics = statistics.view().range(0, 3 * size.N).reshaped({size.N, 3})});
        reference::softmax_statistics(
            {.logits = logits,
             .targets = targets,
             .first_token = size.first_token,
             .columns = size.columns,
             .statistics = statistics.view().range(3 * size.N, 3 * size.N).reshaped({size.N, 3})});
        const TestTensor loss(DType::float32, {size.N}), expected_loss(DType::float32, {size.N});
        ops::SoftmaxLoss arguments{.logits = logits,
                                   .targets = targets,
                                   .first_token = size.first_token,
                                   .columns = size.columns,
                                   .statistics = statistics,
                                   .loss = loss,
                                   .scale = 1.0F / 24,
                                   .gradient = gradient};
        ops::softmax_loss(queue, arguments);
        arguments.logits = expected_logits, arguments.loss = expected_loss;
        reference::softmax_loss(arguments);
        EXPECT_TRUE(is_close(loss, expected_loss, tolerance_of(type)));
        if (gradient) {
          EXPECT_TRUE(is_close(logits, expected_logits, tolerance_of(type)));
        } else {
          EXPECT_TRUE(test::same_bits(logits, before));
        }
      }
}

// Whole vocabularies: rows that lie at 16-byte boundaries and rows that do not, padded and not, wider than a GPU's
// shared memory takes.
constexpr Size whole_sizes[] = {{1, 8, 8, 0},         {7, 128, 100, 0},      {33, 61, 61, 0},      {20, 61, 59, 0},
                                {3, 1024, 1000, 0},   {2, 4096, 4090, 0},    {3, 50304, 50257, 0}, {2, 50257, 50257, 0},
                                {2, 60160, 60152, 0}, {2, 131072, 128256, 0}};

TEST(WholeSoftmaxLoss, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : whole_sizes)
    for (const DType type : types)
      for (const bool gradient : {false, true}) {
        SCOPED_TRACE(describe(size, type) + (gradient ? ", gradient" : ""));
        const TestTensor logits = padded_logits(random, type, size), before = logits, expected_logits = logits;
        const TestTensor targets = random.integers({size.N}, 0, static_cast<std::int32_t>(size.columns));
        const TestTensor loss(DType::float32, {size.N}), expected_loss(DType::float32, {size.N});
        ops::WholeSoftmaxLoss arguments{.logits = logits,
                                        .targets = targets,
                                        .columns = size.columns,
                                        .loss = loss,
                                        .scale = 1.0F / 24,
                                        .gradient = gradient};
        ops::whole_softmax_loss(queue, arguments);
        arguments.logits = expected_logits, arguments.loss = expected_loss;
        reference::whole_softmax_loss(arguments);
        EXPECT_TRUE(is_close(loss, expected_loss, tolerance_of(type)));
        if (gradient) {
          EXPECT_TRUE(is_close(logits, expected_logits, tolerance_of(type)));
        } else {
          EXPECT_TRUE(test::same_bits(logits, before));
        }
      }
}

TEST(WholeSoftmaxLoss, IsThatOfTheStatistics) {
  RandomTensors random;
  Queue queue;
  for (const Size& size : whole_sizes)
    for (const DType type : types) {
      SCOPED_TRACE(describe(size, type));
      const TestTensor logits = padded_logits(random, type, size), apart = logits;
      const TestTensor targets = random.integers({size.N}, 0, static_cast<std::int32_t>(size.columns));
      const TestTensor loss(DType::float32, {size.N}), loss_apart(DType::float32, {size.N});
      const TestTensor statistics(DType::float32, {1, size.N, 3});
      ops::whole_softmax_loss(queue, {.logits = logits,
                                      .targets = targets,
                                      .columns = size.columns,
                                      .loss = loss,
                                      .scale = 0.125F,
                                      .gradient = true});
      ops::softmax_statistics(queue, {.logits = apart,
                                      .targets = targets,
                                      .first_token = 0,
                                      .columns = size.columns,
                                      .statistics = statistics.view().reshaped({size.N, 3})});
      ops::softmax_loss(queue, {.logits = apart,
                                .targets = targets,
                                .first_token = 0,
                                .columns = size.columns,
                                .statistics = statistics,
                                .loss = loss_apart,
                                .scale = 0.125F,
                                .gradient = true});
      EXPECT_TRUE(is_close(loss, loss_apart, tolerance_of(DType::float32)));
      EXPECT_TRUE(is_close(logits, apart, tolerance_of(type)));
    }
}

TEST(WholeSoftmaxLoss, SurvivesLargeLogits) {
  Queue queue;
  const TestTensor logits(DType::float32, {2, 4}), targets(DType::int32, {2}), loss(DType::float32, {2});
  reference::write(logits, {5000, 4999, -5000, 0, -3000, -3001, -3002, -3003});
  targets.view().data<std::int32_t>()[0] = 1;
  targets.view().data<std::int32_t>()[1] = 0;
  ops::whole_softmax_loss(
      queue, {.logits = logits, .targets = targets, .columns = 4, .loss = loss, .scale = 1, .gradient = true});
  // Near 5000 a float32 is good to 2.4e-4, so that log-sum-exp minus logit is too.
  EXPECT_NEAR(reference::read(loss)[0], 1 + std::log1p(std::exp(-1.0)), 1e-3);
  EXPECT_NEAR(reference::read(loss)[1], std::log(1 + std::exp(-1.0) + std::exp(-2.0) + std::exp(-3.0)), 1e-3);
}

// How the vocabulary of 4 x 128 padded columns, 430 of them real, lies on `ranks` ranks; loss and gradient of all.
struct CutVocabulary {
  static constexpr std::int64_t padded = 512, real = 430;
  TestTensor loss;
  reference::Values gradient;  // [N, 512]

  template <typename Statistics, typename Loss>
  CutVocabulary(const TestTensor& logits, const TestTensor& targets, int ranks, DType statistics_type,
                const Statistics& softmax_statistics, const Loss& softmax_loss)
      : gradient(static_cast<std::size_t>(logits.view().elements())) {
    const std::int64_t N = logits.view().shape()[0], columns = padded / ranks;
    const reference::Values all = reference::read(logits);
    const TestTensor statistics(statistics_type, {ranks, N, 3});
    std::vector<TestTensor> pieces;
    for (int rank = 0; rank < ranks; ++rank) {
      TestTensor& piece = pieces.emplace_back(logits.view().type(), Shape{N, columns});
      reference::Values values;
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t v = 0; v < columns; ++v) values.push_back(all[reference::at(n, rank * columns + v, padded)]);
      reference::write(piece, values);
      softmax_statistics({.logits = piece,
                          .targets = targets,
                          .first_token = rank * columns,
                          .columns = real_columns(rank, columns),
                          .statistics = statistics.view().range(rank * 3 * N, 3 * N).reshaped({N, 3})});
    }
    for (int rank = 0; rank < ranks; ++rank) {
      loss = TestTensor(statistics_type, {N});
      const TestTensor& piece = pieces[static_cast<std::size_t>(rank)];
      softmax_loss({.logits = piece,
                    .targets = targets,
                    .first_token = rank * columns,
                    .columns = real_columns(rank, columns),
                    .statistics = statistics,
                    .loss = loss,
                    .scale = 0.125F,
                    .gradient = true});
      const reference::Values values = reference::read(piece);
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t v = 0; v < columns; ++v)
          gradient[reference::at(n, rank * columns + v, padded)] = values[reference::at(n, v, columns)];
    }
  }
  static std::int64_t real_columns(int rank, std::int64_t columns) {
    return std::clamp<std::int64_t>(real - rank * columns, 0, columns);
  }
  TestTensor gradient_as_tensor(std::int64_t N) const {
    TestTensor tensor(DType::float64, {N, padded});
    reference::write(tensor, gradient);
    return tensor;
  }
};

TEST(SoftmaxLoss, CutInPiecesIsTheWhole) {
  RandomTensors random;
  Queue queue;
  const std::int64_t N = 13;
  const TestTensor logits = padded_logits(random, DType::float32, {N, 512, 430, 0});
  const TestTensor targets = random.integers({N}, 0, 430);
  const auto statistics = [&](const ops::SoftmaxStatistics& arguments) { ops::softmax_statistics(queue, arguments); };
  const auto loss = [&](const ops::SoftmaxLoss& arguments) { ops::softmax_loss(queue, arguments); };
  const CutVocabulary whole(logits, targets, 1, DType::float32, statistics, loss);
  for (const int ranks : {2, 4}) {
    SCOPED_TRACE(fmt::format("{} pieces", ranks));
    const CutVocabulary cut(logits, targets, ranks, DType::float32, statistics, loss);
    EXPECT_TRUE(is_close(cut.loss, whole.loss, 1e-5));
    EXPECT_TRUE(is_close(cut.gradient_as_tensor(N), whole.gradient_as_tensor(N), 1e-5));
  }
}

TEST(SoftmaxLoss, OfARankWithoutColumnsIsTheWhole) {
  // 8 ranks share 512 padded columns, of which 430 are real: the last rank has none of them.
  RandomTensors random;
  Queue queue;
  const std::int64_t N = 5;
  ASSERT_EQ(CutVocabulary::real_columns(7, 64), 0);
  const TestTensor logits = padded_logits(random, DType::float32, {N, 512, 430, 0});
  const TestTensor targets = random.integers({N}, 0, 430);
  const auto statistics = [&](const ops::SoftmaxStatistics& arguments) { ops::softmax_statistics(queue, arguments); };
  const auto loss = [&](const ops::SoftmaxLoss& arguments) { ops::softmax_loss(queue, arguments); };
  const CutVocabulary whole(logits, targets, 1, DType::float32, statistics, loss);
  const CutVocabulary cut(logits, targets, 8, DType::float32, statistics, loss);  // its loss is that of the last rank
  EXPECT_TRUE(is_close(cut.loss, whole.loss, 1e-5));
  EXPECT_TRUE(is_close(cut.gradient_as_tensor(N), whole.gradient_as_tensor(N), 1e-5));
}

TEST(SoftmaxLoss, SurvivesLargeLogits) {
  Queue queue;
  const TestTensor logits(DType::float32, {2, 4}), targets(DType::int32, {2});
  reference::write(logits, {5000, 4999, -5000, 0, -3000, -3001, -3002, -3003});
  targets.view().data<std::int32_t>()[0] = 1;
  targets.view().data<std::int32_t>()[1] = 0;
  const TestTensor statistics(DType::float32, {1, 2, 3}), loss(DType::float32, {2});
  ops::softmax_statistics(queue, {.logits = logits,
                                  .targets = targets,
                                  .first_token = 0,
                                  .columns = 4,
                                  .statistics = statistics.view().reshaped({2, 3})});
  ops::softmax_loss(queue, {.logits = logits,
                            .targets = targets,
                            .first_token = 0,
                            .columns = 4,
                            .statistics = statistics,
                            .loss = loss,
                            .scale = 1,
                            .gradient = true});
  // Near 5000 a float32 is good to 2.4e-4, so that log-sum-exp minus logit is too.
  EXPECT_NEAR(reference::read(loss)[0], 1 + std::log1p(std::exp(-1.0)), 1e-3);
  EXPECT_NEAR(reference::read(loss)[1], std::log(1 + std::exp(-1.0) + std::exp(-2.0) + std::exp(-3.0)), 1e-3);
}

TEST(SoftmaxLoss, BitsIgnoreOldMemory) {
  RandomTensors random;
  Queue queue;
  for (const DType type : types) {
    const TestTensor logits = padded_logits(random, type, {9, 128, 100, 0}), targets = random.integers({9}, 0, 100);
    TestTensor statistics(DType::float32, {1, 9, 3}), loss(DType::float32, {9}), gradient(type, {9, 128});
    EXPECT_TRUE(test::ignores_old_memory(queue, {&statistics, &loss, &gradient}, [&] {
      std::memcpy(gradient.view().raw(), logits.view().raw(), logits.view().bytes());
      ops::softmax_statistics(queue, {.logits = gradient,
                                      .targets = targets,
                                      .first_token = 0,
                                      .columns = 100,
                                      .statistics = statistics.view().reshaped({9, 3})});
      ops::softmax_loss(queue, {.logits = gradient,
                                .targets = targets,
                                .first_token = 0,
                                .columns = 100,
                                .statistics = statistics,
                                .loss = loss,
                                .scale = 1,
                                .gradient = true});
    }));
  }
}

TEST(WholeSoftmaxLoss, BitsIgnoreOldMemory) {
  RandomTensors random;
  Queue queue;
  for (const DType type : types) {
    const TestTensor logits = padded_logits(random, type, {9, 128, 100, 0}), targets = random.integers({9}, 0, 100);
    TestTensor loss(DType::float32, {9}), gradient(type, {9, 128});
    EXPECT_TRUE(test::ignores_old_memory(queue, {&loss, &gradient}, [&] {
      std::memcpy(gradient.view().raw(), logits.view().raw(), logits.view().bytes());
      ops::whole_softmax_loss(
          queue, {.logits = gradient, .targets = targets, .columns = 100, .loss = loss, .scale = 1, .gradient = true});
    }));
  }
}

TEST(SoftmaxLossReference, GradientIsThatOfFiniteDifferences) {
  // Of the scaled sum of all tokens' losses, whole and cut in two.
  RandomTensors random;
  const std::int64_t N = 2;
  const TestTensor logits = random.normal(DType::float64, {N, 512}, 2), targets = random.integers({N}, 0, 430);
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(fmt::format("{} ranks", ranks));
    const auto cut = [&] {
      return CutVocabulary(logits, targets, ranks, DType::float64, reference::softmax_statistics,
                           reference::softmax_loss);
    };
    const auto value = [&] {
      double sum = 0;
      for (const double loss : reference::read(cut().loss)) sum += 0.125 * loss;
      return sum;
    };
    EXPECT_LT(relative_difference(cut().gradient_as_tensor(N), central_differences(logits, value)),
              test::difference_tolerance);
  }
}

}  // namespace
}  // namespace penstock::softmax_loss_test
