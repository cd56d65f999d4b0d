// SPDX-License-Identifier: Apache-2.0
#include "ops/rotary_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace penstock::rotary_table_test {
namespace {

using ops::RotaryAngles;
using ops::RotaryScaling;

// The formulas of the header in double, written down a second time.
double exact_frequency(const RotaryAngles& angles, std::int64_t channels, std::int64_t pair) {
  const double plain =
      std::exp(-2.0 * static_cast<double>(pair) / static_cast<double>(channels) * std::log(angles.theta));
  const auto positions = static_cast<double>(angles.original_positions);
  switch (angles.scaling) {
    case RotaryScaling::none:
      return plain;
    case RotaryScaling::linear:
      return plain / angles.factor;
    case RotaryScaling::llama3: {
      const double turns = positions * plain / (2 * std::numbers::pi);  // in the original number of positions
      const double kept =
          (turns - angles.low_frequency_factor) / (angles.high_frequency_factor - angles.low_frequency_factor);
      return plain / angles.factor + std::clamp(kept, 0.0, 1.0) * (plain - plain / angles.factor);
    }
    case RotaryScaling::yarn: {
      const auto pair_with = [&](double turns) {  // the solution of positions * theta^(-2 i / D) = 2 pi turns
        return static_cast<double>(channels) / 2 * std::log(positions / (2 * std::numbers::pi * turns)) /
               std::log(angles.theta);
      };
      const double first = std::max(0.0, std::floor(pair_with(32)));
      const double last = std::min(static_cast<double>(channels - 1), std::ceil(pair_with(1)));
      const double kept = 1 - std::clamp((static_cast<double>(pair) - first) / (last - first), 0.0, 1.0);
      return plain / angles.factor + kept * (plain - plain / angles.factor);
    }
  }
  return 0;
}

struct Case {
  const char* name;
  RotaryAngles angles;
  std::int64_t channels;
  double scale;  ///< of cosine and sine
};
const Case cases[] = {
    {"Llama 2", {.theta = 10000}, 128, 1},
    {"SmolLM2", {.theta = 100000}, 64, 1},
    {"odd half", {.theta = 10000}, 10, 1},
    {"linear", {.theta = 10000, .scaling = RotaryScaling::linear, .factor = 4}, 64, 1},
    {"Llama 3.1", {.theta = 500000, .scaling = RotaryScaling::llama3, .factor = 8, .original_positions = 8192}, 128, 1},
    {"Llama 3.2", {.theta = 500000, .scaling = RotaryScaling::llama3, .factor = 32, .original_positions = 8192}, 64, 1},
    {"narrow",
     {.theta = 10000,
      .scaling = RotaryScaling::llama3,
      .factor = 4,
      .low_frequency_factor = 2,
      .high_frequency_factor = 8,
      .original_positions = 256},
     32,
     1},
    {"Qwen 2.5",
     {.theta = 1000000, .scaling = RotaryScaling::yarn, .factor = 4, .original_positions = 32768},
     128,
     1.1386294361119891},
    {"short yarn",
     {.theta = 10000, .scaling = RotaryScaling::yarn, .factor = 2, .original_positions = 64},
     16,
     1.0693147180559945},
    {"yarn of factor 1", {.theta = 10000, .scaling = RotaryScaling::yarn, .original_positions = 4096}, 64, 1},
};

TEST(RotaryTable, IsTheFormulaInDouble) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    constexpr std::int64_t positions = 4100;
    const std::vector<float> table = ops::rotary_table(c.angles, positions, c.channels);
    ASSERT_EQ(table.size(), static_cast<std::size_t>(positions * c.channels));
    for (std::int64_t position = 0; position < positions; position += position < 20 ? 1 : 17)
      for (std::int64_t pair = 0; pair < c.channels / 2; ++pair) {
        const double angle = static_cast<double>(position) * exact_frequency(c.angles, c.channels, pair);
        // A frequency has the roundings of exponent, power (theta^x grows by ln(theta) of an error in x), reciprocal
        // and scaling, each 6e-8, and the angle one more: 1e-6 of the angle; cosine, sine and scale have one each.
        const double tolerance = 1e-6 * angle + 2e-7;
        const float* row = table.data() + position * c.channels;
        ASSERT_NEAR(row[pair], c.scale * std::cos(angle), tolerance) << position << " " << pair;
        ASSERT_NEAR(row[c.channels / 2 + pair], c.scale * std::sin(angle), tolerance) << position << " " << pair;
      }
  }
}

TEST(RotaryTable, OfKnownAngles) {
  const std::vector<float> table = ops::rotary_table({.theta = 10000}, 4, 4);  // frequencies 1 and 0.01
  const std::vector<double> expected = {std::cos(3.0), std::cos(0.03), std::sin(3.0), std::sin(0.03)};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(table[i], i < 2 ? 1.0F : 0.0F) << i;  // position 0
    EXPECT_NEAR(table[12 + i], expected[i], 1e-7) << i;
  }
}

TEST(RotaryFrequencies, OfLlama3AreKeptMixedAndDivided) {
  const RotaryAngles angles{.theta = 500000, .scaling = RotaryScaling::llama3, .factor = 8, .original_positions = 8192};
  const std::vector<float> scaled = ops::rotary_frequencies(angles, 128).radians;
  const std::vector<float> plain = ops::rotary_frequencies({.theta = 500000}, 128).radians;
  int kept = 0, mixed = 0, divided = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const bool is_kept = scaled[i] == plain[i], is_divided = scaled[i] == plain[i] / 8;
    kept += is_kept, divided += is_divided;
    if (is_kept || is_divided) continue;
    ++mixed;
    EXPECT_GT(scaled[i], plain[i] / 8);
    EXPECT_LT(scaled[i], plain[i]);
  }
  // Wavelengths 2 pi 500000^(i / 64) below 2048 and above 8192: i <= 28 and i >= 35.
  EXPECT_EQ(kept, 29);
  EXPECT_EQ(mixed, 6);
  EXPECT_EQ(divided, 29);
}

}  // namespace
}  // namespace penstock::rotary_table_test
