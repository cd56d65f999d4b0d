// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "model/model_shape.hpp"
#include "model/partition.hpp"
#include "parameter/parameter_spec.hpp"

namespace penstock {

/// All parameters of a GPT-2 (Radford et al. 2019) in global order, under the checkpoint's names. Initial weights as
/// GPT-2's: normal with deviation 0.02, residual projections 0.02 / sqrt(2 layers), biases 0, norms' weights 1.
std::vector<ParameterSpec> gpt2_parameters(const ModelConfig& config, const ModelCut& cut,
                                           const std::vector<StagePart>& parts);

}  // namespace penstock
