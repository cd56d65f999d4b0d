// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace penstock::dtype_test {
namespace {

bfloat16 of_bits(std::uint16_t bits) {
  bfloat16 value;
  value.bits = bits;
  return value;
}

bool is_nan(std::uint16_t bits) { return (bits & 0x7fffU) > 0x7f80U; }

TEST(DType, NamesAndSizesAreThoseOfTheTypes) {
  EXPECT_EQ(bytes_of(DTypeOf<float>::value), sizeof(float));
  EXPECT_EQ(bytes_of(DTypeOf<bfloat16>::value), sizeof(bfloat16));
  EXPECT_EQ(bytes_of(DTypeOf<double>::value), sizeof(double));
  EXPECT_EQ(bytes_of(DTypeOf<std::int32_t>::value), sizeof(std::int32_t));
  EXPECT_EQ(bytes_of(DTypeOf<std::uint8_t>::value), sizeof(std::uint8_t));
  EXPECT_EQ(name_of(DType::float32), "float32");
  EXPECT_EQ(name_of(DType::bfloat16), "bfloat16");
  EXPECT_EQ(name_of(DType::float64), "float64");
  EXPECT_EQ(name_of(DType::int32), "int32");
  EXPECT_EQ(name_of(DType::uint8), "uint8");
}

TEST(Bfloat16, EveryPatternSurvivesTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const bfloat16 back{static_cast<float>(of_bits(pattern))};
    // A signalling NaN comes back quiet, which is what a conversion makes of it.
    const std::uint16_t expected = is_nan(pattern) ? static_cast<std::uint16_t>(pattern | 0x40U) : pattern;
    ASSERT_EQ(back.bits, expected) << std::hex << bits;
  }
}

TEST(Bfloat16, RoundsToTheNearestAndTiesToEven) {
  // For every finite pattern and its successor in magnitude: what lies between goes to the nearer, the middle to even.
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    if ((bits & 0x7f80U) == 0x7f80U) continue;
    const std::uint32_t below = bits << 16;
    const auto rounded = [&](std::uint32_t low) { return bfloat16(std::bit_cast<float>(below | low)).bits; };
    const auto here = static_cast<std::uint16_t>(bits), next = static_cast<std::uint16_t>(bits + 1);
    ASSERT_EQ(rounded(0x0001), here) << std::hex << bits;
    ASSERT_EQ(rounded(0x7fff), here) << std::hex << bits;
    ASSERT_EQ(rounded(0x8000), bits % 2 == 0 ? here : next) << std::hex << bits;
    ASSERT_EQ(rounded(0x8001), next) << std::hex << bits;
    ASSERT_EQ(rounded(0xffff), next) << std::hex << bits;
  }
}

TEST(Bfloat16, LargestFloatBecomesInfinity) {
  EXPECT_EQ(bfloat16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(bfloat16(std::numeric_limits<float>::lowest()).bits, 0xff80);
  EXPECT_EQ(bfloat16(std::numeric_limits<float>::infinity()).bits, 0x7f80);
}

TEST(Bfloat16, NanStaysNanWhateverItsPayload) {
  // Payloads in the lower half alone would be cut off, and those of all ones would round over into the sign.
  for (const std::uint32_t bits : {0x7f800001U, 0x7f80ffffU, 0x7fc00000U, 0x7fffffffU, 0xff800001U, 0xffffffffU}) {
    const bfloat16 value{std::bit_cast<float>(bits)};
    EXPECT_TRUE(is_nan(value.bits)) << std::hex << bits;
    EXPECT_EQ(value.bits >> 15, static_cast<int>(bits >> 31)) << "the sign of " << std::hex << bits;
  }
}

TEST(Bfloat16, KeepsSubnormalNumbersAndTheSignOfZero) {
  EXPECT_EQ(bfloat16(0x1p-130F).bits, 0x0008);
  EXPECT_EQ(bfloat16(0.0F).bits, 0x0000);
  EXPECT_EQ(bfloat16(-0.0F).bits, 0x8000);
}

}  // namespace
}  // namespace penstock::dtype_test
