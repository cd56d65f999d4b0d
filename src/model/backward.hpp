// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a backward pass is divided, and which intermediate results are still available.

namespace penstock {

/// Which halves of the backward pass to compute: only the input gradient (I), or each product's weight gradient right
/// after its input gradient (B, fused).
enum class BackwardHalves { input_only, fused };

/// Whether the scratch still has the gathered gradient of a branch's output, or it must be gathered again.
enum class GatheredGradient { in_scratch, again };

/// Whether a pass adds to the gradients that earlier microbatches of the step left; the first one overwrites them.
struct Accumulate {
  bool norms = true;     ///< of norms and the embedding, which belong to the input gradient
  bool products = true;  ///< of weights and their biases

  bool operator==(const Accumulate&) const = default;
};

}  // namespace penstock
