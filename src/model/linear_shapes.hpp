// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "model/model_shape.hpp"
#include "ops/linear.hpp"

namespace penstock {

/// What a rank computes besides blocks, and how their backward passes are divided.
struct RankDuties {
  bool head = true;
  bool fused = true;        ///< some stage's backward
  bool input_only = true;   ///< some stage's backward
  bool accumulates = true;  ///< there are microbatches after the first one
};

/// The layers with products of such a rank, each once; they are measured and planned before a run.
std::vector<ops::LinearShape> linear_shapes(const ModelShape& shape, const RankDuties& duties);

}  // namespace penstock
