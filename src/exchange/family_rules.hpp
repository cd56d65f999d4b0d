// SPDX-License-Identifier: Apache-2.0
#pragma once
// FamilyRules: everything particular to one model_type. Each family is one file, family_<name>.cpp.

#include <span>
#include <string_view>
#include <vector>

#include "exchange/exchanged_parameter.hpp"
#include "exchange/hugging_face_config.hpp"

namespace penstock {

/// The names of keys in config.json. An empty name: the family has no such key, and the value is its default.
struct FamilyKeys {
  std::string_view layers, width, heads, kv_heads, head_channels, hidden, vocabulary, positions, norm_epsilon;
  std::string_view attention_bias, mlp_bias;
};

/// A key that is read only to check that its value changes nothing.
struct NeutralKey {
  std::string_view name;
  std::vector<std::string_view> values = {};  ///< as JSON; none: every value is neutral
};

/// How a family states whether its attention has a window.
enum class WindowKeys : std::uint8_t {
  none,            ///< it never has
  sliding_window,  ///< a number or null, for all layers
  per_layer        ///< use_sliding_window, and layers from max_window_layers on or those that layer_types names
};

struct FamilyRules {
  HuggingFaceFamily family;
  std::string_view model_type, architecture;
  /// As transformers has them. kv_heads 0: as many as heads; head_channels 0: width / heads; hidden 0: 4 * width;
  /// rope_theta 0: no rotary keys.
  HuggingFaceConfig defaults;
  FamilyKeys keys;
  std::string_view activation_key;
  std::vector<std::string_view> activations;  ///< names of the one that is computed; the first is written
  WindowKeys window = WindowKeys::none;
  std::vector<NeutralKey> neutral;  ///< besides those of all families
  std::string_view prefix;          ///< of all tensors but the head's
  std::string_view embedding;       ///< the tensor whose name shows whether names have the prefix
  std::string_view blocks;          ///< what the names of a block's tensors begin with
  /// Ends of names of a block's tensors that hold no parameter: masks, and tables that are computed.
  std::vector<std::string_view> ignored_ends;
  std::vector<ExchangedParameter> (*parameters)(const HuggingFaceConfig& config, std::string_view prefix);
};

const FamilyRules& gpt2_rules();
const FamilyRules& llama_rules();
const FamilyRules& mistral_rules();
const FamilyRules& qwen2_rules();
const FamilyRules& qwen3_rules();

/// In the order of their names.
inline constexpr const FamilyRules& (*all_families[])() = {gpt2_rules, llama_rules, mistral_rules, qwen2_rules,
                                                           qwen3_rules};

const FamilyRules& rules_of(HuggingFaceFamily family);

/// The common rules of families that are built like Llama.
FamilyRules llama_like_rules();

/// Keys of all families that do not affect what a model computes: how to train it, to choose tokens, to store it.
std::span<const NeutralKey> neutral_keys();

}  // namespace penstock
