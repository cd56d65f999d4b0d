// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "model/model_shape.hpp"
#include "ops/linear.hpp"

namespace penstock {

/// What a rank computes beside blocks, and how their backward passes are cut.
struct RankDuties {
  bool head = true;
  bool fused = true;        ///< some stage's backward
  bool input_only = true;   ///< some stage's backward
  bool accumulates = true;  ///< there are microbatches behind the first one
};

/// The layers with products of such a rank, each once. What is measured and planned for them before a run is asked of
/// this list.
std::vector<ops::LinearShape> linear_shapes(const ModelShape& shape, const RankDuties& duties);

}  // namespace penstock
