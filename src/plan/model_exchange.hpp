// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a deck and a config.json say of one model, each in the other's terms.

#include <string_view>

#include "exchange/hugging_face_config.hpp"
#include "model/model_config.hpp"

namespace penstock {

/// The deck's model, all sizes spelled out; dropout, which is a matter of training, is none. Throws InputError, which
/// begins with `where`, for what the family computes in Hugging Face's form alone: a GPT-2 with a head of its own or
/// another epsilon, and windows in Qwen's layers.
ModelConfig model_config_of(const HuggingFaceConfig& config, std::string_view where);

/// The same model as a config.json says it.
HuggingFaceConfig hugging_face_config_of(const ModelConfig& model);

}  // namespace penstock
