// SPDX-License-Identifier: Apache-2.0
#pragma once
// The parameters of a model, for ParameterSet and checkpoints.

#include <vector>

#include "model/description.hpp"
#include "model/model_shape.hpp"
#include "model/partition.hpp"
#include "parameter/parameter_spec.hpp"

namespace penstock {

/// All parameters in global order: the tables, the blocks, the end. Names and shapes are those of the checkpoint,
/// whatever the cut and the partition.
std::vector<ParameterSpec> model_parameters(const ModelDescription& model, const ModelCut& cut,
                                            const std::vector<StagePart>& parts);

}  // namespace penstock
