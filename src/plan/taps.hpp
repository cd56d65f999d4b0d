// SPDX-License-Identifier: Apache-2.0
#pragma once
// The names of taps: places of the model whose values a capture keeps.

#include <string>
#include <vector>

#include "model/description.hpp"

namespace penstock {

/// All taps of a model, gradients included: "embedding", "blocks.0.attention", ..., "logits", "loss" and each with
/// ".gradient" behind (but for the loss, and for "blocks.0.attention.query" and ".key", which models with rotary
/// positions have).
std::vector<std::string> all_taps(const ModelDescription& model);

/// The taps that the patterns name, each once, in the model's order. `*` matches every block's number. A pattern
/// that names nothing adds nothing.
std::vector<std::string> expand_taps(const std::vector<std::string>& patterns, const ModelDescription& model);

/// The patterns that name nothing.
std::vector<std::string> unknown_taps(const std::vector<std::string>& patterns, const ModelDescription& model);

/// For messages: what a pattern may be.
std::string taps_text(const ModelDescription& model);

}  // namespace penstock
