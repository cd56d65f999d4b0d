// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/sum.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "support/random_tensor.hpp"

namespace penstock::sum_test {
namespace {

using test::RandomTensors;
using test::Shared;
using test::TestTensor;

constexpr std::int64_t lengths[] = {1, 7, 8, 100, 1023, 1024, 1025, 20011};

TEST(AddSum, AddsInDouble) {
  // Numbers of very different size: in float32 the small ones would be lost.
  RandomTensors random;
  Queue queue;
  for (const std::int64_t n : lengths) {
    const TestTensor tensor = random.normal(DType::float32, {n});
    for (std::int64_t i = 0; i < n; i += 3) tensor.view().data<float>()[i] *= 1e6F;
    double expected = 2.5, sizes = 2.5;
    for (const double value : reference::read(tensor)) expected += value, sizes += std::abs(value);
    const Shared sum(2.5);
    ops::add_sum(queue, tensor, sum.get());
    EXPECT_NEAR(*sum, expected, 1e-12 * sizes) << n;  // 20011 additions of a rounding of 1e-16, in any order
  }
}

TEST(AddSum, OfTheSameNumbersHasTheSameBits) {
  RandomTensors random;
  Queue queue;
  for (const std::int64_t n : lengths)
    for (const std::int64_t begin : {0, 1}) {  // wherever they lie
      const TestTensor tensor = random.normal(DType::float32, {n}), moved(DType::float32, {begin + n});
      std::memcpy(moved.view().range(begin, n).raw(), tensor.view().raw(), tensor.view().bytes());
      const Shared first(0.0), second(0.0);
      ops::add_sum(queue, tensor, first.get());
      ops::add_sum(queue, moved.view().range(begin, n), second.get());
      EXPECT_EQ(*first, *second) << n << " elements from " << begin;
    }
}

TEST(AddSum, AddsOverMicrobatches) {
  RandomTensors random;
  Queue queue;
  const Shared sum(0.0);
  double expected = 0;
  for (int microbatch = 0; microbatch < 3; ++microbatch) {
    const TestTensor tensor = random.normal(DType::float32, {65}, 1, 10);
    ops::add_sum(queue, tensor, sum.get());
    for (const double value : reference::read(tensor)) expected += value;
  }
  EXPECT_NEAR(*sum, expected, 1e-12 * expected);  // 195 additions in double
}

TEST(Add, IsTheSumOfTwo) {
  RandomTensors random;
  Queue queue;
  enum class Out { own, first, second };
  for (const std::int64_t n : lengths)
    for (const Out out : {Out::own, Out::first, Out::second})
      for (const std::int64_t begin : {0, 1}) {  // a range of a bucket may begin anywhere
        SCOPED_TRACE(fmt::format("{} elements from {}, out {}", n, begin, static_cast<int>(out)));
        const TestTensor first = random.normal(DType::float32, {begin + n}), a = first;
        const TestTensor second = random.normal(DType::float32, {begin + n}), b = second;
        const TestTensor own(DType::float32, {begin + n});
        const TestTensor& to = out == Out::own ? own : out == Out::first ? first : second;
        ops::add(queue, first.view().range(begin, n), second.view().range(begin, n), to.view().range(begin, n));
        for (std::int64_t i = begin; i < begin + n; ++i)
          ASSERT_EQ(to.view().data<float>()[i], a.view().data<float>()[i] + b.view().data<float>()[i]) << i;
      }
}

TEST(Add, LeavesNeighboursAlone) {
  RandomTensors random;
  Queue queue;
  const TestTensor first = random.normal(DType::float32, {20}), second = random.normal(DType::float32, {20});
  const TestTensor out = random.normal(DType::float32, {20}), before = out;
  ops::add(queue, first.view().range(0, 13), second.view().range(0, 13), out.view().range(2, 13));
  for (const std::int64_t i : {0, 1, 15, 16, 19})
    EXPECT_EQ(out.view().data<float>()[i], before.view().data<float>()[i]) << i;
}

}  // namespace
}  // namespace penstock::sum_test
