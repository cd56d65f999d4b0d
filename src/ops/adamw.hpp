// SPDX-License-Identifier: Apache-2.0
#pragma once
// AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2) over a list of pieces, with the clip factor of the
// global norm inside.

#include <cstdint>
#include <span>

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// Values that change from step to step; they live in device memory.
struct AdamWStep {
  float learning_rate = 0;
  float gradient_scale = 1;     ///< clip factor
  float first_correction = 1;   ///< 1 / (1 - beta1^t), t the update's number from 1 on
  float second_correction = 1;  ///< 1 / (1 - beta2^t)
  bool apply = true;            ///< false: nothing changes (the loss or norm is not finite)
};

/// How much of a moment stays from one update to the next. A float has too few digits for a beta near 1: 0.9999F is
/// 0.99989998, and 1 minus that is 1.7e-4 too large. So the rounding error and the complement are kept as well.
struct MomentDecay {
  constexpr MomentDecay(double beta)  // not explicit: it represents the number
      : factor(static_cast<float>(beta)),
        rest(static_cast<float>(beta - static_cast<double>(factor))),
        complement(static_cast<float>(1 - beta)) {}

  float factor;      ///< beta, rounded; below 1
  float rest;        ///< beta - factor
  float complement;  ///< 1 - beta
};

/// Values of the whole run.
struct AdamWConstants {
  MomentDecay beta1 = 0.9;
  MomentDecay beta2 = 0.95;
  float epsilon = 1e-8F;
  float weight_decay = 0.1F;
};

/// n elements that are updated alike.
struct AdamWPiece {
  TensorView master;         ///< [n] float32 weights
  TensorView gradient;       ///< [n] float32 or bfloat16
  TensorView addend;         ///< [n] float32 or bfloat16: the gradient's second part; or absent
  TensorView first_moment;   ///< [n] float32
  TensorView second_moment;  ///< [n] float32
  TensorView weight;         ///< [n] bfloat16 copy of the updated weights for computing, or absent
  bool decay = false;        ///< whether weight decay applies
};

/// g = (gradient + addend) * gradient_scale, the sum in float32; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2)
/// g^2; w -= learning_rate * (m * first_correction / (sqrt(v * second_correction) + epsilon) + weight_decay * w).
void adamw(Queue& queue, const AdamWConstants& constants, const AdamWStep* step, std::span<const AdamWPiece> pieces);

}  // namespace penstock::ops
