// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/elementwise.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "ops/reference/reference.hpp"
#include "support/random_tensor.hpp"

namespace penstock::elementwise_test {
namespace {

using test::RandomTensors;
using test::TestTensor;

constexpr std::int64_t lengths[] = {1, 7, 8, 100, 4095, 4096, 4097, 20011};

TEST(Cast, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const DType from_type : {DType::float32, DType::bfloat16})
    for (const DType to_type : {DType::float32, DType::bfloat16})
      for (const std::int64_t n : lengths) {
        SCOPED_TRACE(fmt::format("{} {} to {}", n, name_of(from_type), name_of(to_type)));
        const TestTensor from = random.normal(from_type, {n}), to(to_type, {n}), expected(to_type, {n});
        ops::cast(queue, from, to);
        reference::cast(from, expected);
        EXPECT_TRUE(test::same_bits(to, expected));
      }
}

TEST(Cast, RoundsToNearestEven) {
  Queue queue;
  const float infinity = std::numeric_limits<float>::infinity();
  // A bfloat16 has 8 significant bits. Ties 1 + 1/256 and 1 + 3/256 go to the even neighbours 1 and 1 + 1/64; above the
  // largest number lies infinity; subnormal numbers stay.
  const std::vector<float> in = {
      1.0F + 0x1p-8F, 1.0F + 3 * 0x1p-8F, 1.0F + 0x1p-8F + 0x1p-20F, -0.0F, infinity, -infinity, 3.4e38F, 0x1p-130F};
  const std::vector<float> out = {1.0F,     1.0F + 0x1p-6F, 1.0F + 0x1p-7F, -0.0F,
                                  infinity, -infinity,      infinity,       0x1p-130F};
  const TestTensor from(DType::float32, {8}), to(DType::bfloat16, {8}), back(DType::float32, {8});
  std::copy(in.begin(), in.end(), from.view().data<float>());
  ops::cast(queue, from, to);
  ops::cast(queue, to, back);
  for (std::size_t i = 0; i < 8; ++i)
    EXPECT_EQ(std::bit_cast<std::uint32_t>(back.view().data<float>()[i]), std::bit_cast<std::uint32_t>(out[i])) << i;
}

TEST(Cast, KeepsNaN) {
  Queue queue;
  const TestTensor from(DType::float32, {40}), to(DType::bfloat16, {40});
  for (std::int64_t i = 0; i < 40; ++i)  // also NaNs whose bits lie all in the half that is rounded away
    from.view().data<float>()[i] = std::bit_cast<float>(i % 2 == 0 ? 0x7fffffffU : 0x7f800001U);
  ops::cast(queue, from, to);
  for (const double value : reference::read(to)) EXPECT_TRUE(std::isnan(value));
}

TEST(Zero, SetsEveryByteAndNoOther) {
  Queue queue;
  for (const DType type : {DType::float32, DType::bfloat16, DType::int32, DType::uint8})
    for (const std::int64_t n : lengths) {
      const TestTensor tensor(type, {n + 2});
      ops::zero(queue, tensor.view().range(1, n));
      const auto* bytes = static_cast<const unsigned char*>(tensor.view().raw());
      const std::size_t size = bytes_of(type), total = tensor.view().bytes();
      for (std::size_t i = 0; i < total; ++i)
        ASSERT_EQ(bytes[i], i < size || i >= total - size ? 0xff : 0) << "byte " << i << " of " << name_of(type);
    }
}

TEST(Cast, OfAnyPartIsTheReference) {
  // Views begin anywhere, so that no two elements may be taken for one aligned word.
  RandomTensors random;
  Queue queue;
  const TestTensor from = random.normal(DType::float32, {100});
  for (const std::int64_t begin : {1, 2, 3, 8})
    for (const std::int64_t target : {0, 1, 5}) {
      const TestTensor to(DType::bfloat16, {100}), expected = to;
      ops::cast(queue, from.view().range(begin, 77), to.view().range(target, 77));
      reference::cast(from.view().range(begin, 77), expected.view().range(target, 77));
      EXPECT_TRUE(test::same_bits(to, expected)) << begin << " to " << target;
    }
}

}  // namespace
}  // namespace penstock::elementwise_test
