// SPDX-License-Identifier: Apache-2.0
#include "exchange/stored_type.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace penstock::stored_type_test {
namespace {

// By arithmetic on doubles, which hold every half: sign, exponent, fraction as IEEE 754 says.
double value_of_half(std::uint16_t half) {
  const double sign = (half & 0x8000U) != 0 ? -1 : 1;
  const int exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  if (exponent == 31) return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

template <typename Stored>
std::vector<float> widened(StoredType type, const std::vector<Stored>& stored) {
  // At an odd address: what a file holds begins anywhere.
  std::vector<std::byte> bytes(stored.size() * sizeof(Stored) + 1);
  std::memcpy(bytes.data() + 1, stored.data(), stored.size() * sizeof(Stored));
  std::vector<float> values(stored.size());
  widen(type, bytes.data() + 1, values.data(), static_cast<std::int64_t>(values.size()));
  return values;
}

std::vector<std::uint16_t> all_of_sixteen_bits() {
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  return all;
}

TEST(StoredTypeTest, EveryHalfHasItsValue) {
  const std::vector<std::uint16_t> halves = all_of_sixteen_bits();
  const std::vector<float> values = widened(StoredType::float16, halves);
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const double expected = value_of_half(halves[i]);
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    EXPECT_EQ(bits >> 31, halves[i] >> 15) << i;
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(values[i])) << i;
      EXPECT_EQ((bits >> 13) & 0x3ffU, halves[i] & 0x3ffU) << i;  // the payload
      EXPECT_EQ(bits & 0x1fffU, 0U) << i;
    } else {
      EXPECT_EQ(static_cast<double>(values[i]), expected) << i;
    }
  }
}

TEST(StoredTypeTest, EveryBfloat16IsTheUpperHalfOfAFloatAndComesBack) {
  const std::vector<std::uint16_t> stored = all_of_sixteen_bits();
  const std::vector<float> values = widened(StoredType::bfloat16, stored);
  std::vector<std::uint16_t> back(stored.size());
  narrow(DType::bfloat16, values.data(), reinterpret_cast<std::byte*>(back.data()),
         static_cast<std::int64_t>(values.size()));
  for (std::size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(values[i]), static_cast<std::uint32_t>(stored[i]) << 16);
    const bool signalling = std::isnan(values[i]) && (stored[i] & 0x40U) == 0;
    EXPECT_EQ(back[i], stored[i] | (signalling ? 0x40U : 0U)) << i;
  }
}

TEST(StoredTypeTest, NarrowRoundsToNearestEven) {
  struct Case {
    std::uint32_t from;
    std::uint16_t to;
  };
  const Case cases[] = {
      {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80},  // a tie: down to even
      {0x3f818000, 0x3f82},                        // a tie: up to even
      {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, {0xbf808001, 0xbf81},
      {0x7f7fffff, 0x7f80},  // what rounds above the largest is infinite
      {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x00000001, 0x0000},
      {0x00008001, 0x0001}, {0x00018000, 0x0002},  // subnormal
      {0x80000000, 0x8000}, {0x7f800001, 0x7fc0}, {0xffc00000, 0xffc0},
  };
  for (const Case& one : cases) {
    const float value = std::bit_cast<float>(one.from);
    std::uint16_t stored = 0;
    narrow(DType::bfloat16, &value, reinterpret_cast<std::byte*>(&stored), 1);
    EXPECT_EQ(stored, one.to) << std::hex << one.from;
  }
}

TEST(StoredTypeTest, Float32KeepsItsBitsBothWays) {
  const std::vector<std::uint32_t> bits{0x00000000, 0x80000000, 0x00000001, 0x7f7fffff, 0x7f800000,
                                        0xff800000, 0x7f800001, 0x7fc12345, 0x3f800001};
  const std::vector<float> values = widened(StoredType::float32, bits);
  EXPECT_EQ(std::memcmp(values.data(), bits.data(), bits.size() * 4), 0);
  std::vector<std::uint32_t> back(bits.size());
  narrow(DType::float32, values.data(), reinterpret_cast<std::byte*>(back.data()),
         static_cast<std::int64_t>(values.size()));
  EXPECT_EQ(back, bits);
}

TEST(StoredTypeTest, Float64IsRounded) {
  const std::vector<double> stored{0.1, -1e300, 0x1p-160, 1 + 0x1p-24, 1 + 0x1.8p-23};
  const std::vector<float> values = widened(StoredType::float64, stored);
  const std::vector<float> expected{0.1F, -std::numeric_limits<float>::infinity(), 0, 1, 1 + 0x1p-22F};
  EXPECT_EQ(values, expected);
}

TEST(StoredTypeTest, KnowsTheNamesOfTheFormat) {
  EXPECT_EQ(stored_type_named("BF16")->type, StoredType::bfloat16);
  EXPECT_EQ(stored_type_named("I64")->bits, 64);
  EXPECT_FALSE(stored_type_named("F31"));
  EXPECT_EQ(stored_name_of(DType::bfloat16), "BF16");
  EXPECT_THROW(stored_name_of(DType::int32), LogicError);
}

}  // namespace
}  // namespace penstock::stored_type_test
