// SPDX-License-Identifier: Apache-2.0
// Llama 2, 3, 3.1 and 3.2, after LlamaConfig and LlamaForCausalLM of transformers 5.24, and what other families share
// with it.

#include "exchange/family_rules.hpp"
#include "exchange/name_table.hpp"

namespace penstock {
namespace {

std::vector<ExchangedParameter> llama_like_names(const HuggingFaceConfig& config, std::string_view prefix) {
  const std::int64_t width = config.width, hidden = config.hidden;
  const std::int64_t queries = config.heads * config.head_channels, keys = config.kv_heads * config.head_channels;
  NameTable table(prefix);
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, const std::string& tensor,
                          bool bias) {
    table.matrix(name + ".weight", out, in, tensor + ".weight");
    if (bias) table.vector(name + ".bias", out, tensor + ".bias");
  };
  table.matrix("embedding.token.weight", config.vocabulary, width, "embed_tokens.weight");
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".", layer = "layers." + std::to_string(i) + ".";
    const std::string attention = layer + "self_attn.";
    table.vector(block + "attention_norm.weight", width, layer + "input_layernorm.weight");
    for (const std::string end : {".weight", ".bias"})
      if (end == ".weight" || config.attention_bias)
        table.rows(block + "attention.qkv" + end, end == ".weight" ? width : NameTable::no_columns,
                   {{attention + "q_proj" + end, queries},
                    {attention + "k_proj" + end, keys},
                    {attention + "v_proj" + end, keys}});
    if (config.query_key_norm) {
      table.vector(block + "attention.query_norm.weight", config.head_channels, attention + "q_norm.weight");
      table.vector(block + "attention.key_norm.weight", config.head_channels, attention + "k_norm.weight");
    }
    linear(block + "attention.output", width, queries, attention + "o_proj", config.attention_output_bias());
    table.vector(block + "mlp_norm.weight", width, layer + "post_attention_layernorm.weight");
    linear(block + "mlp.gate", hidden, width, layer + "mlp.gate_proj", config.mlp_bias);
    linear(block + "mlp.up", hidden, width, layer + "mlp.up_proj", config.mlp_bias);
    linear(block + "mlp.down", width, hidden, layer + "mlp.down_proj", config.mlp_bias);
  }
  table.vector("final_norm.weight", width, "norm.weight");
  if (!config.tied) table.head(config.vocabulary, width);
  return table.take();
}

FamilyRules make_llama_rules() {
  FamilyRules rules = llama_like_rules();
  rules.family = rules.defaults.family = HuggingFaceFamily::llama;
  rules.model_type = "llama";
  rules.architecture = "LlamaForCausalLM";
  rules.defaults.vocabulary = 32000;
  rules.defaults.hidden = 11008;
  rules.defaults.positions = 2048;
  rules.keys.attention_bias = "attention_bias";
  rules.keys.mlp_bias = "mlp_bias";
  // More keys of SmolLM2's files; and pretraining_tp, with which early files of Llama 2 cut products to repeat the sums
  // of training.
  rules.neutral = {{"pretraining_tp"}, {"is_llama_config"}, {"rope_interleaved", {"false"}}};
  return rules;
}

}  // namespace

FamilyRules llama_like_rules() {
  return {.family = HuggingFaceFamily::llama,
          .model_type = {},
          .architecture = {},
          .defaults = {.layers = 32, .width = 4096, .heads = 32, .norm_epsilon = 1e-6, .rope_theta = 10000},
          .keys = {.layers = "num_hidden_layers",
                   .width = "hidden_size",
                   .heads = "num_attention_heads",
                   .kv_heads = "num_key_value_heads",
                   .head_channels = "head_dim",
                   .hidden = "intermediate_size",
                   .vocabulary = "vocab_size",
                   .positions = "max_position_embeddings",
                   .norm_epsilon = "rms_norm_eps",
                   .attention_bias = {},
                   .mlp_bias = {}},
          .activation_key = "hidden_act",
          .activations = {"silu", "swish"},
          .neutral = {},
          .prefix = "model.",
          .embedding = "embed_tokens.weight",
          .blocks = "layers.",
          .ignored_ends = {".self_attn.rotary_emb.inv_freq"},
          .parameters = llama_like_names};
}

const FamilyRules& llama_rules() {
  static const FamilyRules rules = make_llama_rules();
  return rules;
}

}  // namespace penstock
