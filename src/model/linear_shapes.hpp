#pragma once

#include <vector>

#include "model/model_shape.hpp"
#include "ops/linear.hpp"

namespace penstock {

/// The layers with products of a rank that computes blocks and, where `head` says so, the logits: each once. What is
/// measured and planned for them before a run is asked of this list.
std::vector<ops::LinearShape> linear_shapes(const ModelShape& shape, bool head);

}  // namespace penstock
