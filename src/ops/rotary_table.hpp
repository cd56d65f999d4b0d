// SPDX-License-Identifier: Apache-2.0
#pragma once
// The angles of rotary position embedding (RoPE: Su et al., arXiv 2104.09864), on the host, as Hugging Face's
// transformers computes them (modeling_rope_utils.py and LlamaRotaryEmbedding, version 5): frequencies in float32,
// angles = position * frequency in float32, then cosine and sine.

#include <cstdint>
#include <vector>

namespace penstock::ops {

/// How the frequency f_i = theta^(-2 i / D) of pair i < D / 2 changes for sequences longer than those of a model's
/// first training.
enum class RotaryScaling {
  none,
  linear,  ///< f / factor (positions closer together: Chen et al., arXiv 2306.15595)
  /// Llama 3.1: with the wavelength L = 2 pi / f and the original number of positions P: f where L < P / high, f /
  /// factor where L > P / low, else (1 - s) f / factor + s f with s = (P / L - low) / (high - low).
  llama3,
  /// YaRN (Peng et al., arXiv 2309.00071): (1 - e_i) f / factor + e_i f, where e falls from 1 at pair floor(d(32)) to 0
  /// at pair ceil(d(1)), d(n) = D ln(P / (2 pi n)) / (2 ln theta); cosine and sine are multiplied by 0.1 ln(factor)
  /// + 1.
  yarn,
};

/// How a model's angles are computed. A scaling ignores members that it does not name.
struct RotaryAngles {
  double theta = 10000;
  RotaryScaling scaling = RotaryScaling::none;
  double factor = 1;                       ///< of all scalings
  double low_frequency_factor = 1;         ///< low, of llama3
  double high_frequency_factor = 4;        ///< high, of llama3
  std::int64_t original_positions = 8192;  ///< P, of llama3 and yarn

  bool operator==(const RotaryAngles&) const = default;
};

struct RotaryFrequencies {
  std::vector<float> radians;  ///< [D / 2], a position
  float scale = 1;             ///< of cosine and sine
};

/// The frequencies of heads of D channels, an even number.
RotaryFrequencies rotary_frequencies(const RotaryAngles& angles, std::int64_t channels);

/// [positions, D]: a row holds the cosines of its position's D / 2 angles, then their sines: what `rotate` reads.
std::vector<float> rotary_table(const RotaryAngles& angles, std::int64_t positions, std::int64_t channels);

}  // namespace penstock::ops
