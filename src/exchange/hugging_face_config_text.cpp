// SPDX-License-Identifier: Apache-2.0
// The other direction: a config.json from the value.

#include <map>

#include "base/error.hpp"
#include "base/json_object.hpp"
#include "exchange/family_rules.hpp"
#include "exchange/hugging_face_config.hpp"
#include "exchange/json_edit.hpp"

namespace penstock {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

json rope_object(const RopeScaling& rope) {
  switch (rope.kind) {
    case RopeKind::none:
      return nullptr;
    case RopeKind::linear:
      return {{"rope_type", "linear"}, {"factor", rope.factor}};
    case RopeKind::llama3:
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low},
              {"high_freq_factor", rope.high},
              {"original_max_position_embeddings", rope.original}};
    case RopeKind::yarn:
      return {{"rope_type", "yarn"}, {"factor", rope.factor}, {"original_max_position_embeddings", rope.original}};
  }
  return nullptr;
}

/// rope_scaling and rope_theta in one, as newer files have them.
json rope_parameters_of(const HuggingFaceConfig& config) {
  json object = rope_object(config.rope_scaling);
  if (object.is_null()) object = {{"rope_type", "default"}};
  object["rope_theta"] = config.rope_theta;
  return object;
}

/// What `config` says in the keys of its family. `original` decides between forms that say the same: it is an object,
/// with the keys that are there already.
std::map<std::string, json> members_of(const HuggingFaceConfig& config, const json& original) {
  const FamilyRules& rules = rules_of(config.family);
  const FamilyKeys& keys = rules.keys;
  std::map<std::string, json> members;
  const auto set = [&](std::string_view key, json value) {
    if (!key.empty()) members[std::string(key)] = std::move(value);
  };
  const auto says = [&](std::string_view key) {
    const auto found = original.find(key);
    return found != original.end() && !found->is_null();
  };
  set(keys.layers, config.layers);
  set(keys.width, config.width);
  set(keys.heads, config.heads);
  set(keys.kv_heads, config.kv_heads);
  const std::int64_t usual = rules.defaults.head_channels != 0 ? 0 : config.width / config.heads;
  if (says(keys.head_channels) || config.head_channels != usual) set(keys.head_channels, config.head_channels);
  const bool by_default = rules.defaults.hidden == 0 && config.hidden == 4 * config.width && !says(keys.hidden);
  set(keys.hidden, by_default ? json(nullptr) : json(config.hidden));
  set(keys.vocabulary, config.vocabulary);
  set(keys.positions, config.positions);
  if (says("n_ctx")) set("n_ctx", config.positions);
  set(keys.norm_epsilon, config.norm_epsilon);
  set(keys.attention_bias, config.attention_bias);
  set(keys.mlp_bias, config.mlp_bias);
  set("tie_word_embeddings", config.tied);
  if (rules.defaults.rotary()) {
    const bool newer = says("rope_parameters");
    if (newer) set("rope_parameters", rope_parameters_of(config));
    if (!newer || says("rope_theta")) set("rope_theta", config.rope_theta);
    if (!newer || says("rope_scaling")) set("rope_scaling", rope_object(config.rope_scaling));
  }
  const json window = config.window > 0 ? json(config.window) : json(nullptr);
  if (rules.window == WindowKeys::sliding_window) set("sliding_window", window);
  if (rules.window == WindowKeys::per_layer) {
    set("use_sliding_window", config.window > 0);
    if (config.window > 0) {
      set("sliding_window", window);
      set("max_window_layers", 0);
    }
  }
  if (says("layer_types"))
    set("layer_types", json::array_t(static_cast<std::size_t>(config.layers),
                                     config.window > 0 ? "sliding_attention" : "full_attention"));
  return members;
}

void check_says(const HuggingFaceConfig& config, std::string_view text, std::string_view where) {
  if (parse_hugging_face_config(text, where) == config) return;
  throw_input_error(
      "{}: model_type {} has no keys for this model: biases, norms of queries and keys, positions and windows have to "
      "be "
      "those of its family; export it as a family that has them",
      where, name_of(config.family));
}

}  // namespace

std::string hugging_face_config_text(const HuggingFaceConfig& config, DType type) {
  const FamilyRules& rules = rules_of(config.family);
  std::map<std::string, json> members = members_of(config, json::object());
  members["architectures"] = {rules.architecture};
  members["model_type"] = rules.model_type;
  members["torch_dtype"] = name_of(type);
  members[std::string(rules.activation_key)] = rules.activations.front();
  members["bos_token_id"] = nullptr;
  members["eos_token_id"] = nullptr;
  const std::string text = json(members).dump(2) + "\n";
  check_says(config, text, "config.json");
  return text;
}

std::string hugging_face_config_like(std::string_view original, std::string_view where, const HuggingFaceConfig& config,
                                     DType type) {
  const HuggingFaceConfig before = parse_hugging_face_config(original, where);
  if (before.family != config.family)
    throw_input_error(
        "{}: is of model_type {}, and the model to be written is of {}; name a directory of its own family", where,
        name_of(before.family), name_of(config.family));
  const json object = json::parse(original);
  const std::map<std::string, json> old = members_of(before, object);
  JsonMembers changed;
  for (const auto& [key, value] : members_of(config, object))
    if (const auto found = old.find(key); found == old.end() || found->second != value)
      changed.emplace_back(key, ordered_json(value));
  for (const char* key : {"torch_dtype", "dtype"})
    if (const auto found = object.find(key); found != object.end() && !found->is_null() && *found != name_of(type))
      changed.emplace_back(key, name_of(type));
  const std::string text = with_members(original, changed);
  check_says(config, text, where);
  return text;
}

}  // namespace penstock
