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
  bool apply = true;            ///< false: nothing is changed (a loss or norm that is not finite)
};

/// Values of the whole run.
struct AdamWConstants {
  float beta1 = 0.9F;
  float beta2 = 0.95F;
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
