// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor_view.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <numeric>

namespace penstock::tensor_view_test {
namespace {

/// [3, 4] int32: 0, 1, 2, ...
class TensorViewTest : public testing::Test {
 protected:
  TensorViewTest() { std::iota(values_.begin(), values_.end(), 0); }
  TensorView view() { return {values_.data(), DType::int32, {3, 4}}; }
  std::array<std::int32_t, 12> values_{};
};

TEST_F(TensorViewTest, BorrowsItsElements) {
  view().data<std::int32_t>()[5] = 99;
  EXPECT_EQ(values_[5], 99);
  EXPECT_EQ(view().elements(), 12);
  EXPECT_EQ(view().bytes(), 48U);
}

TEST_F(TensorViewTest, RangeIsAPartWithoutACopy) {
  const TensorView part = view().range(5, 3);
  EXPECT_EQ(part.shape(), (Shape{3}));
  EXPECT_EQ(part.data<std::int32_t>(), values_.data() + 5);
  EXPECT_EQ(view().range(12, 0).elements(), 0) << "an empty range at the end is inside";
}

TEST_F(TensorViewTest, RangeOutsideIsRefused) {
  EXPECT_THROW(view().range(-1, 2), LogicError);
  EXPECT_THROW(view().range(0, -1), LogicError);
  EXPECT_THROW(view().range(10, 3), LogicError);
  EXPECT_THROW(view().range(13, 0), LogicError);
}

TEST_F(TensorViewTest, RowsKeepTheWidth) {
  const TensorView part = view().rows(1, 2);
  EXPECT_EQ(part.shape(), (Shape{2, 4}));
  EXPECT_EQ(part.data<std::int32_t>()[0], 4);
  EXPECT_THROW(view().rows(2, 2), LogicError);
  EXPECT_THROW(view().range(0, 8).rows(0, 1), LogicError) << "one dimension has no rows";
  EXPECT_THROW(view().reshaped({3, 2, 2}).rows(0, 1), LogicError) << "three dimensions have no rows";
}

TEST_F(TensorViewTest, ReshapedKeepsElementsInOrder) {
  const TensorView other = view().reshaped({2, 6});
  EXPECT_EQ(other.shape(), (Shape{2, 6}));
  EXPECT_EQ(other.raw(), view().raw());
  const Shape ten{5, 2};
  EXPECT_THROW(view().reshaped(ten), LogicError);
}

TEST_F(TensorViewTest, AnotherTypeIsRefused) {
  EXPECT_THROW(view().data<float>(), LogicError) << "as wide as int32, and yet another type";
  EXPECT_THROW(view().data<bfloat16>(), LogicError);
  EXPECT_NO_THROW(view().data<std::int32_t>());
}

TEST(TensorView, AbsentStaysAbsentInItsParts) {
  EXPECT_FALSE(TensorView().present());
  const TensorView planned(nullptr, DType::float32, {4, 8});
  EXPECT_FALSE(planned.present());
  EXPECT_FALSE(planned.range(8, 8).present());
  EXPECT_FALSE(planned.rows(1, 2).present());
  EXPECT_EQ(planned.rows(1, 2).shape(), (Shape{2, 8}));
}

TEST(TensorView, PartsCountInTheTypesBytes) {
  std::array<bfloat16, 8> values{};
  const TensorView view(values.data(), DType::bfloat16, {2, 4});
  EXPECT_EQ(view.bytes(), 16U);
  EXPECT_EQ(view.rows(1, 1).data<bfloat16>(), values.data() + 4);
}

}  // namespace
}  // namespace penstock::tensor_view_test
