// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/squared_norm.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "ops/reference/reference.hpp"
#include "support/random_tensor.hpp"

namespace penstock::squared_norm_test {
namespace {

using test::RandomTensors;
using test::TestTensor;

/// A [1] float64 place for a sum.
TestTensor sum_of(double value) {
  TestTensor sum(DType::float64, {1});
  reference::write(sum, {value});
  return sum;
}

double value_of(const TestTensor& sum) { return sum.view().data<double>()[0]; }

TEST(AddSquaredNorms, OfOnePieceIsTheReference) {
  RandomTensors random;
  for (const std::int64_t n : {1, 7, 8, 100, 4095, 4096, 4097, 20011, 5000003})
    for (const double before : {0.0, 1000.0}) {
      Queue queue;
      const TestTensor tensor = random.normal(DType::float32, {n});
      const TestTensor sum = sum_of(before), expected = sum;
      const ops::NormPiece piece{.tensor = tensor, .addend = {}, .sum = sum},
          same{.tensor = tensor, .addend = {}, .sum = expected};
      ops::add_squared_norms(queue, std::span(&piece, 1));
      reference::add_squared_norms(std::span(&same, 1));
      // Sums in double: 1e-16 an addition, at random.
      EXPECT_NEAR(value_of(sum), value_of(expected), 1e-12 * value_of(expected)) << n;
      EXPECT_EQ(queue.workspace_bytes(), ops::squared_norms_workspace(std::span(&piece, 1)));
    }
}

TEST(AddSquaredNorms, OfManyPiecesHaveTheBitsOfEachAlone) {
  // More pieces than a backend may take at once, some of them empty, some that begin between two words of a vector;
  // one, two or three in a row share a sum.
  RandomTensors random;
  Queue queue;
  const TestTensor all = random.normal(DType::float32, {40000});
  std::vector<TestTensor> together, alone;
  std::vector<ops::NormPiece> pieces;
  std::int64_t begin = 0;
  for (int i = 0; i < 300; ++i) {
    if (i % 6 == 0 || i % 6 == 1 || i % 6 == 3) {
      together.push_back(sum_of(0.125 * i));
      alone.push_back(together.back());
    }
    const std::int64_t count = i % 7 == 0 ? 0 : 1 + 137 * i % 9000;
    begin = (begin + 37 * i) % (all.view().elements() - count);
    const TensorView part = all.view().range(begin, count);
    pieces.push_back({.tensor = part, .addend = {}, .sum = together.back()});
    const ops::NormPiece one{.tensor = part, .addend = {}, .sum = alone.back()};
    ops::add_squared_norms(queue, std::span(&one, 1));
  }
  ops::add_squared_norms(queue, pieces);
  for (std::size_t i = 0; i < together.size(); ++i) EXPECT_EQ(value_of(together[i]), value_of(alone[i])) << "sum " << i;
}

TEST(AddSquaredNorms, OfEitherTypeInTwoPartsHaveTheBitsOfTheirFloat32Sum) {
  RandomTensors random;
  Queue queue;
  for (const DType type : {DType::float32, DType::bfloat16})
    for (const auto& addend_type : {std::optional<DType>{}, {DType::float32}, {DType::bfloat16}})
      for (const std::int64_t n : {1, 100, 4097, 40011}) {
        const TestTensor tensor = random.normal(type, {n}), whole(DType::float32, {n});
        const TestTensor addend = addend_type ? random.normal(*addend_type, {n}) : TestTensor();
        const reference::Values first = reference::read(tensor), second = reference::read_or_zeros(addend, n);
        for (std::size_t i = 0; i < first.size(); ++i)
          whole.view().data<float>()[i] = static_cast<float>(first[i]) + static_cast<float>(second[i]);
        const TestTensor got = sum_of(0), expected = sum_of(0), formula = sum_of(0);
        const std::vector<ops::NormPiece> pieces{{.tensor = tensor, .addend = addend, .sum = got},
                                                 {.tensor = whole, .addend = {}, .sum = expected}};
        ops::add_squared_norms(queue, pieces);
        EXPECT_EQ(value_of(got), value_of(expected)) << n << " " << name_of(type);
        const ops::NormPiece plain{.tensor = tensor, .addend = addend, .sum = formula};
        reference::add_squared_norms(std::span(&plain, 1));
        // The sum of two parts is rounded to float32 once: its square is off by 1.2e-7 of itself.
        EXPECT_NEAR(value_of(got), value_of(formula), 2e-7 * value_of(formula)) << n << " " << name_of(type);
      }
}

TEST(AddSquaredNorms, AddTheSumOfAPieceAsAWhole) {
  RandomTensors random;
  Queue queue;
  const TestTensor tensor = random.normal(DType::float32, {9001});
  const TestTensor alone = sum_of(0), added = sum_of(0.125);
  const std::vector<ops::NormPiece> pieces{{.tensor = tensor, .addend = {}, .sum = alone},
                                           {.tensor = tensor, .addend = {}, .sum = added}};
  ops::add_squared_norms(queue, pieces);
  EXPECT_EQ(value_of(added), 0.125 + value_of(alone));
}

TEST(AddSquaredNorms, BitsDoNotDependOnThreads) {
  RandomTensors random;
  const TestTensor large = random.normal(DType::float32, {100003}), small = random.normal(DType::float32, {5003});
  std::vector<double> sums;
  for (const int threads : {1, 2, 3}) {
    Queue queue({.threads = threads});
    const TestTensor first = sum_of(0), second = sum_of(0);
    const std::vector<ops::NormPiece> pieces{{.tensor = large, .addend = {}, .sum = first},
                                             {.tensor = small, .addend = {}, .sum = second}};
    ops::add_squared_norms(queue, pieces);
    sums.push_back(value_of(first));
    sums.push_back(value_of(second));
  }
  for (const std::size_t other : {2U, 4U}) {
    EXPECT_EQ(sums[0], sums[other]);
    EXPECT_EQ(sums[1], sums[other + 1]);
  }
}

TEST(AddSquaredNorms, OfLargeNumbersDoNotOverflow) {
  Queue queue;
  const TestTensor tensor(DType::float32, {10});
  reference::write(tensor, reference::Values(10, 1e30));
  const TestTensor sum = sum_of(0);
  const ops::NormPiece piece{.tensor = tensor, .addend = {}, .sum = sum};
  ops::add_squared_norms(queue, std::span(&piece, 1));
  EXPECT_NEAR(value_of(sum), 1e61, 1e55);  // 1e30 as a float32 is off by up to 6e-8
}

}  // namespace
}  // namespace penstock::squared_norm_test
