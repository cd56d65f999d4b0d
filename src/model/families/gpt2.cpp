// SPDX-License-Identifier: Apache-2.0
// GPT-2 (Radford et al., 2019): learned positions, LayerNorm, GELU, the token table as head; a bias everywhere.

#include <array>
#include <cmath>

#include "model/families/families.hpp"

namespace penstock {

namespace {

BlockDescription gpt2_block(const ModelConfig& config) {
  const std::int64_t head_channels = config.head_channels(), hidden = config.hidden();
  const OutputSection heads{.key = "model.heads", .units = config.heads, .channels = head_channels};
  return {{{.name = "attention",
            .in = {.name = "qkv", .sections = {heads, heads, heads}, .bias = true},
            .core = AttentionCore{.heads = config.heads,
                                  .head_channels = head_channels,
                                  .dropout = config.dropout_attention},
            .out = {.name = "output", .bias = true},
            .dropout = config.dropout_residual},
           {.name = "mlp",
            .in = {.name = "up", .sections = {{.key = "model.width", .units = hidden}}, .bias = true},
            .core = MlpCore{.activation = Activation::gelu, .hidden = hidden},
            .out = {.name = "down", .bias = true},
            .dropout = config.dropout_residual}}};
}

ModelDescription describe_gpt2(const ModelConfig& config) {
  constexpr double deviation = 0.02;
  return {.width = config.width,
          .vocabulary = config.vocabulary,
          .positions = config.positions,
          .norm = NormKind::layer,
          .deviation = deviation,
          .residual_deviation = deviation / std::sqrt(2.0 * static_cast<double>(config.layers)),
          .dropout_embedding = config.dropout_embedding,
          .kinds = {gpt2_block(config)},
          .blocks = std::vector<std::size_t>(static_cast<std::size_t>(config.layers), 0)};
}

constexpr std::array function_keys{std::string_view("model.heads")};

}  // namespace

const Family gpt2_family{.name = "gpt2", .describe = describe_gpt2, .keys_of_function = function_keys};

}  // namespace penstock
