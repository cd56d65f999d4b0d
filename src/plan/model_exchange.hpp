// SPDX-License-Identifier: Apache-2.0
#pragma once
// Translates a model between a deck and a config.json.

#include <string_view>

#include "exchange/hugging_face_config.hpp"
#include "model/model_config.hpp"

namespace penstock {

/// The deck's model with all sizes explicit, without dropout, which belongs to training. Throws InputError, which
/// begins with `where`, for features that only Hugging Face's form of the family has: a GPT-2 with an untied head or
/// another epsilon, and windows in Qwen's layers.
ModelConfig model_config_of(const HuggingFaceConfig& config, std::string_view where);

/// The same model in the terms of a config.json.
HuggingFaceConfig hugging_face_config_of(const ModelConfig& model);

}  // namespace penstock
