// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a backward pass is cut, and what of it is still at hand.

namespace penstock {

/// Which halves of the backward pass to compute: the input gradient alone (I), or each product's weight gradient right
/// behind its input gradient (B, fused).
enum class BackwardHalves { input_only, fused };

/// Whether the scratch still holds the gathered gradient of a branch's output, or it must be gathered again.
enum class GatheredGradient { in_scratch, again };

/// Whether a pass adds to the gradients that earlier microbatches of the step left; the first one overwrites them.
struct Accumulate {
  bool norms = true;     ///< of LayerNorms and the embedding, which are the input gradient's
  bool products = true;  ///< of weights and their biases

  bool operator==(const Accumulate&) const = default;
};

}  // namespace penstock
