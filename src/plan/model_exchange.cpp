// SPDX-License-Identifier: Apache-2.0
#include "plan/model_exchange.hpp"

#include <array>
#include <utility>

#include "base/error.hpp"
#include "exchange/family_rules.hpp"
#include "model/families/families.hpp"

namespace penstock {

namespace {

using ops::RotaryScaling;

constexpr std::array scalings{
    std::pair{RopeKind::none, RotaryScaling::none}, std::pair{RopeKind::linear, RotaryScaling::linear},
    std::pair{RopeKind::llama3, RotaryScaling::llama3}, std::pair{RopeKind::yarn, RotaryScaling::yarn}};

RotaryScaling scaling_of(RopeKind kind) {
  for (const auto& [known, scaling] : scalings)
    if (known == kind) return scaling;
  throw_logic_error("scaling_of: a kind that no deck knows", std::source_location::current());
}

RopeKind kind_of(RotaryScaling scaling) {
  for (const auto& [kind, known] : scalings)
    if (known == scaling) return kind;
  throw_logic_error("kind_of: a scaling that config.json has no word for", std::source_location::current());
}

HuggingFaceFamily family_of(std::string_view name) {
  for (const auto& rules : all_families)
    if (rules().model_type == name) return rules().family;
  throw_logic_error("family_of: a family that config.json has no word for", std::source_location::current());
}

// Members that the scaling does not use keep the deck's defaults.
void take_scaling(ModelConfig& model, const RopeScaling& rope) {
  model.rope_scaling = scaling_of(rope.kind);
  if (rope.kind == RopeKind::none) return;
  model.rope_factor = rope.factor;
  if (rope.kind == RopeKind::linear) return;
  model.rope_original = rope.original;
  if (rope.kind == RopeKind::yarn) return;
  model.rope_low = rope.low;
  model.rope_high = rope.high;
}

RopeScaling scaling_of(const ModelConfig& model) {
  RopeScaling rope{.kind = kind_of(model.rope_scaling)};
  if (rope.kind == RopeKind::none) return rope;
  rope.factor = model.rope_factor;
  if (rope.kind == RopeKind::linear) return rope;
  rope.original = model.rope_original;
  if (rope.kind == RopeKind::yarn) return rope;
  rope.low = model.rope_low;
  rope.high = model.rope_high;
  return rope;
}

void take_flags(HuggingFaceConfig& config, const ModelDescription& model) {
  for (const BranchDescription& branch : model.kinds.front().branches) {
    if (const AttentionCore* attention = branch.attention()) {
      config.attention_bias = branch.in.bias;
      config.query_key_norm = attention->query_key_norm;
      config.window = attention->window;
    } else {
      config.mlp_bias = branch.in.bias;
    }
  }
}

}  // namespace

ModelConfig model_config_of(const HuggingFaceConfig& config, std::string_view where) {
  ModelConfig model{.family = std::string(name_of(config.family)),
                    .layers = config.layers,
                    .width = config.width,
                    .heads = config.heads,
                    .kv_heads = config.kv_heads,
                    .head_channels = config.head_channels,
                    .hidden = config.hidden,
                    .vocabulary = config.vocabulary,
                    .positions = config.positions,
                    .norm_epsilon = config.norm_epsilon,
                    .tied = config.tied,
                    .attention_bias = config.attention_bias,
                    .mlp_bias = config.mlp_bias,
                    .window = config.window};
  if (config.rotary()) {
    model.rope_theta = config.rope_theta;
    take_scaling(model, config.rope_scaling);
  }
  // Where the deck has no key, the family's description decides.
  if (hugging_face_config_of(model) != config)
    throw_input_error(
        "{}: Penstock's {} models have {}; use weights of such a model", where, model.family,
        describe_model(model).learned_positions
            ? "the token embedding as their head, as many channels in all heads as the width, and an epsilon of 1e-5"
            : "no sliding window");
  return model;
}

HuggingFaceConfig hugging_face_config_of(const ModelConfig& model) {
  const ModelDescription description = describe_model(model);
  HuggingFaceConfig config{.family = family_of(model.family),
                           .layers = model.layers,
                           .width = model.width,
                           .heads = model.heads,
                           .kv_heads = model.heads_of_keys(),
                           .head_channels = model.channels_of_a_head(),
                           .hidden = model.hidden_channels(),
                           .vocabulary = model.vocabulary,
                           .positions = model.positions,
                           .norm_epsilon = description.norm_epsilon,
                           .tied = description.tied};
  take_flags(config, description);
  if (!description.learned_positions) {
    config.rope_theta = model.rope_theta;
    config.rope_scaling = scaling_of(model);
  }
  return config;
}

}  // namespace penstock
