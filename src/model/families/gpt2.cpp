// SPDX-License-Identifier: Apache-2.0
// GPT-2 (Radford et al., 2019): learned positions, LayerNorm, GELU, the token table as head; a bias everywhere.

#include <array>
#include <cmath>

#include "model/families/families.hpp"

namespace penstock {

namespace {

BlockDescription gpt2_block(const ModelConfig& config) {
  const std::int64_t head_channels = config.channels_of_a_head(), hidden = config.hidden_channels();
  const OutputSection heads{.key = "model.heads", .units = config.heads, .channels = head_channels};
  return {{{.name = "attention",
            .in = {.weights = {{.name = "qkv", .sections = {heads, heads, heads}}}, .bias = true},
            .core = AttentionCore{.heads = config.heads,
                                  .kv_heads = config.heads,
                                  .head_channels = head_channels,
                                  .dropout = config.dropout_attention},
            .out = {.name = "output", .bias = true},
            .dropout = config.dropout_residual},
           {.name = "mlp",
            .in = {.weights = {{.name = "up", .sections = {hidden_section(config)}}}, .bias = true},
            .core = MlpCore{.activation = Activation::gelu, .hidden = hidden},
            .out = {.name = "down", .bias = true},
            .dropout = config.dropout_residual}}};
}

ModelDescription describe_gpt2(const ModelConfig& config) {
  constexpr double deviation = 0.02;
  return {.width = config.width,
          .vocabulary = config.vocabulary,
          .positions = config.positions,
          .learned_positions = true,
          .tied = true,
          .norm = NormKind::layer,
          .deviation = deviation,
          .residual_deviation = deviation / std::sqrt(2.0 * static_cast<double>(config.layers)),
          .dropout_embedding = config.dropout_embedding,
          .kinds = {gpt2_block(config)},
          .blocks = std::vector<std::size_t>(static_cast<std::size_t>(config.layers), 0)};
}

constexpr std::array function_keys{std::string_view("model.heads")};
constexpr std::array own_keys{std::string_view("model.hidden")};

}  // namespace

const Family gpt2_family{
    .name = "gpt2", .describe = describe_gpt2, .keys_of_function = function_keys, .keys = own_keys};

}  // namespace penstock
