// SPDX-License-Identifier: Apache-2.0
#include "tensor/shape.hpp"

#include <gtest/gtest.h>

namespace penstock::shape_test {
namespace {

TEST(Shape, KnowsItsExtents) {
  const Shape shape{2, 64, 256};
  EXPECT_EQ(shape.dimensions(), 3);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[2], 256);
  EXPECT_EQ(shape.elements(), 2 * 64 * 256);
  EXPECT_EQ(shape.text(), "[2, 64, 256]");
}

TEST(Shape, WithoutDimensionsIsAScalar) {
  const Shape shape;
  EXPECT_EQ(shape.dimensions(), 0);
  EXPECT_EQ(shape.elements(), 1);
  EXPECT_EQ(shape.text(), "[]");
}

TEST(Shape, WithAnEmptyExtentHasNoElements) { EXPECT_EQ((Shape{3, 0, 5}.elements()), 0); }

TEST(Shape, CountsBeyond32Bits) { EXPECT_EQ((Shape{1 << 20, 1 << 20}.elements()), std::int64_t{1} << 40); }

TEST(Shape, EqualMeansEqualExtentsAndDimensions) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{6}), (Shape{6, 0}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
}

TEST(Shape, HasFiveDimensionsAtMost) {
  EXPECT_EQ((Shape{1, 2, 3, 4, 5}.elements()), 120);
  EXPECT_THROW((Shape{1, 2, 3, 4, 5, 6}), LogicError);
}

}  // namespace
}  // namespace penstock::shape_test
