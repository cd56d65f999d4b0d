// SPDX-License-Identifier: Apache-2.0
#pragma once
// The model families: each is a file here that turns a deck's [model] section into a ModelDescription.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/description.hpp"

namespace penstock {

struct Family {
  std::string_view name;  ///< in decks
  ModelDescription (*describe)(const ModelConfig& config);
  /// Deck keys that change what the model computes, but no parameter's shape: a restart needs them equal.
  std::span<const std::string_view> keys_of_function;
  /// Deck keys of this family in addition to those of all families.
  std::span<const std::string_view> keys;
};

extern const Family gpt2_family, llama_family, mistral_family, qwen2_family, qwen3_family;

/// The hidden channels of an MLP, divided among tensor ranks.
inline OutputSection hidden_section(const ModelConfig& config) {
  return {.key = config.hidden > 0 ? "model.hidden" : "", .units = config.hidden_channels()};
}

/// Whether decks of the family may have the key, one of [model].
bool has_key(const ModelConfig& config, std::string_view key);

/// All of them.
std::span<const Family> families();
std::vector<std::string> family_names();

}  // namespace penstock
