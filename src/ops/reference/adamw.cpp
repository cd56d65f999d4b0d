// SPDX-License-Identifier: Apache-2.0
#include "ops/adamw.hpp"

#include <cmath>

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {
namespace {

double value_of(const ops::MomentDecay& beta) {
  return static_cast<double>(beta.factor) + static_cast<double>(beta.rest);
}

}  // namespace

void adamw(const ops::AdamWConstants& constants, const ops::AdamWStep* step, std::span<const ops::AdamWPiece> pieces) {
  if (!step->apply) return;
  const double beta1 = value_of(constants.beta1), beta2 = value_of(constants.beta2);
  for (const ops::AdamWPiece& piece : pieces) {
    Values w = read(piece.master), m = read(piece.first_moment), v = read(piece.second_moment);
    const Values gradient = read(piece.gradient), addend = read_or_zeros(piece.addend, piece.gradient.elements());
    const double decay = piece.decay ? static_cast<double>(constants.weight_decay) : 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double g = (gradient[i] + addend[i]) * static_cast<double>(step->gradient_scale);
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      const double direction =
          m[i] * static_cast<double>(step->first_correction) /
          (std::sqrt(v[i] * static_cast<double>(step->second_correction)) + static_cast<double>(constants.epsilon));
      w[i] -= static_cast<double>(step->learning_rate) * (direction + decay * w[i]);
    }
    write(piece.master, w);
    write(piece.first_moment, m);
    write(piece.second_moment, v);
    if (piece.weight.present()) write(piece.weight, w);
  }
}

}  // namespace penstock::reference
