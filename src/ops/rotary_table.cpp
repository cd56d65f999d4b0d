// SPDX-License-Identifier: Apache-2.0
#include "ops/rotary_table.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.hpp"

namespace penstock::ops {
namespace {

// Each step is rounded to float32 where transformers has a tensor, and is double where it has a Python number.

/// theta^(2 i / D): the reciprocals of the frequencies.
std::vector<float> periods_of(double theta, std::int64_t channels) {
  std::vector<float> periods;
  for (std::int64_t i = 0; i < channels; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(channels);
    periods.push_back(static_cast<float>(std::pow(theta, static_cast<double>(exponent))));
  }
  return periods;
}

float llama3_frequency(float frequency, const RotaryAngles& angles) {
  const auto positions = static_cast<double>(angles.original_positions);
  const auto low = static_cast<float>(angles.low_frequency_factor);
  const auto span = static_cast<float>(angles.high_frequency_factor - angles.low_frequency_factor);
  const auto factor = static_cast<float>(angles.factor);
  const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
  if (wavelength > static_cast<float>(positions / angles.low_frequency_factor)) return frequency / factor;
  if (wavelength < static_cast<float>(positions / angles.high_frequency_factor)) return frequency;
  const float smooth = (static_cast<float>(positions) / wavelength - low) / span;
  return (1.0F - smooth) * frequency / factor + smooth * frequency;
}

/// The pair whose frequency makes this many turns in the original number of positions.
double pair_of_turns(double turns, const RotaryAngles& angles, std::int64_t channels) {
  const auto positions = static_cast<double>(angles.original_positions);
  return static_cast<double>(channels) * std::log(positions / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(angles.theta));
}

std::vector<float> yarn_frequencies(const RotaryAngles& angles, std::int64_t channels) {
  constexpr double fast_turns = 32, slow_turns = 1;
  const double first = std::max(std::floor(pair_of_turns(fast_turns, angles, channels)), 0.0);
  double last = std::min(std::ceil(pair_of_turns(slow_turns, angles, channels)), static_cast<double>(channels - 1));
  if (first == last) last += 0.001;
  std::vector<float> frequencies = periods_of(angles.theta, channels);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float along = (static_cast<float>(i) - static_cast<float>(first)) / static_cast<float>(last - first);
    const float kept = 1.0F - std::clamp(along, 0.0F, 1.0F);
    const float slowed = 1.0F / (static_cast<float>(angles.factor) * frequencies[i]);
    frequencies[i] = slowed * (1.0F - kept) + 1.0F / frequencies[i] * kept;
  }
  return frequencies;
}

}  // namespace

RotaryFrequencies rotary_frequencies(const RotaryAngles& angles, std::int64_t channels) {
  ensure(channels > 0 && channels % 2 == 0, "rotary_frequencies: a head's channels are not an even number");
  ensure(angles.theta > 0 && angles.factor > 0, "rotary_frequencies: theta or factor is not positive");
  if (angles.scaling == RotaryScaling::yarn)
    return {yarn_frequencies(angles, channels),
            angles.factor > 1 ? static_cast<float>(0.1 * std::log(angles.factor) + 1.0) : 1.0F};
  RotaryFrequencies made{periods_of(angles.theta, channels), 1};
  for (float& number : made.radians) {
    number = 1.0F / number;
    if (angles.scaling == RotaryScaling::linear) number /= static_cast<float>(angles.factor);
    if (angles.scaling == RotaryScaling::llama3) number = llama3_frequency(number, angles);
  }
  return made;
}

std::vector<float> rotary_table(const RotaryAngles& angles, std::int64_t positions, std::int64_t channels) {
  const RotaryFrequencies frequencies = rotary_frequencies(angles, channels);
  std::vector<float> table(static_cast<std::size_t>(positions * channels));
  const auto pairs = static_cast<std::size_t>(channels / 2);
  for (std::int64_t position = 0; position < positions; ++position) {
    float* row = table.data() + position * channels;
    for (std::size_t i = 0; i < pairs; ++i) {
      const auto angle = static_cast<double>(static_cast<float>(position) * frequencies.radians[i]);
      row[i] = static_cast<float>(std::cos(angle)) * frequencies.scale;
      row[pairs + i] = static_cast<float>(std::sin(angle)) * frequencies.scale;
    }
  }
  return table;
}

}  // namespace penstock::ops
