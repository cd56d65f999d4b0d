// SPDX-License-Identifier: Apache-2.0
// Llama 2, 3, 3.1 and 3.2.

#include "model/families/llama.hpp"

#include <cmath>

namespace penstock {

namespace {

BlockDescription llama_block(const ModelConfig& config, const LlamaTraits& traits) {
  const std::int64_t channels = config.channels_of_a_head(), kv_heads = config.heads_of_keys();
  const OutputSection queries{.key = "model.heads", .units = config.heads, .channels = channels};
  const OutputSection keys{.key = "model.kv_heads", .units = kv_heads, .channels = channels, .copied = true};
  const OutputSection hidden = hidden_section(config);
  return {{{.name = "attention",
            .in = {.weights = {{.name = "qkv", .sections = {queries, keys, keys}}}, .bias = traits.qkv_bias},
            .core = AttentionCore{.heads = config.heads,
                                  .kv_heads = kv_heads,
                                  .head_channels = channels,
                                  .window = traits.window,
                                  .rotation = config.rotation(),
                                  .query_key_norm = traits.query_key_norm,
                                  .dropout = config.dropout_attention},
            .out = {.name = "output", .bias = traits.output_bias},
            .dropout = config.dropout_residual},
           {.name = "mlp",
            .in = {.weights = {{.name = "gate", .sections = {hidden}}, {.name = "up", .sections = {hidden}}},
                   .bias = traits.mlp_bias},
            .core = MlpCore{.activation = ops::Activation::swiglu, .hidden = config.hidden_channels()},
            .out = {.name = "down", .bias = traits.mlp_bias},
            .dropout = config.dropout_residual}}};
}

ModelDescription describe(const ModelConfig& config) {
  return describe_llama(
      config, {.qkv_bias = config.attention_bias, .output_bias = config.attention_bias, .mlp_bias = config.mlp_bias});
}

constexpr auto own_llama_keys = llama_keys_and("model.attention_bias", "model.mlp_bias");

}  // namespace

ModelDescription describe_llama(const ModelConfig& config, const LlamaTraits& traits) {
  constexpr double deviation = 0.02;
  return {.width = config.width,
          .vocabulary = config.vocabulary,
          .positions = config.positions,
          .tied = config.tied,
          .norm = NormKind::rms,
          .norm_epsilon = config.norm_epsilon,
          .deviation = deviation,
          .residual_deviation = deviation / std::sqrt(2.0 * static_cast<double>(config.layers)),
          .dropout_embedding = config.dropout_embedding,
          .kinds = {llama_block(config, traits)},
          .blocks = std::vector<std::size_t>(static_cast<std::size_t>(config.layers), 0)};
}

const Family llama_family{
    .name = "llama", .describe = describe, .keys_of_function = llama_function_keys, .keys = own_llama_keys};

}  // namespace penstock
