// SPDX-License-Identifier: Apache-2.0
// GPT-2, after GPT2Config and GPT2LMHeadModel of transformers 5.24.

#include "exchange/family_rules.hpp"
#include "exchange/name_table.hpp"

namespace penstock {
namespace {

std::vector<ExchangedParameter> gpt2_names(const HuggingFaceConfig& config, std::string_view prefix) {
  const std::int64_t width = config.width, hidden = config.hidden;
  NameTable table(prefix);
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, const std::string& tensor) {
    table.transposed(name + ".weight", out, in, tensor + ".weight");  // Conv1D is [in, out]
    table.vector(name + ".bias", out, tensor + ".bias");
  };
  const auto norm = [&](const std::string& name, const std::string& tensor) {
    table.vector(name + ".weight", width, tensor + ".weight");
    table.vector(name + ".bias", width, tensor + ".bias");
  };
  table.matrix("embedding.token.weight", config.vocabulary, width, "wte.weight");
  table.matrix("embedding.position.weight", config.positions, width, "wpe.weight");
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".", h = "h." + std::to_string(i) + ".";
    norm(block + "attention_norm", h + "ln_1");
    linear(block + "attention.qkv", 3 * width, width, h + "attn.c_attn");
    linear(block + "attention.output", width, width, h + "attn.c_proj");
    norm(block + "mlp_norm", h + "ln_2");
    linear(block + "mlp.up", hidden, width, h + "mlp.c_fc");
    linear(block + "mlp.down", width, hidden, h + "mlp.c_proj");
  }
  norm("final_norm", "ln_f");
  if (!config.tied) table.head(config.vocabulary, width);
  return table.take();
}

}  // namespace

const FamilyRules& gpt2_rules() {
  static const FamilyRules rules{
      .family = HuggingFaceFamily::gpt2,
      .model_type = "gpt2",
      .architecture = "GPT2LMHeadModel",
      .defaults = {.family = HuggingFaceFamily::gpt2,
                   .layers = 12,
                   .width = 768,
                   .heads = 12,
                   .vocabulary = 50257,
                   .positions = 1024,
                   .norm_epsilon = 1e-5,
                   .tied = true,
                   .attention_bias = true,
                   .mlp_bias = true},
      .keys = {.layers = "n_layer",
               .width = "n_embd",
               .heads = "n_head",
               .kv_heads = {},
               .head_channels = {},
               .hidden = "n_inner",
               .vocabulary = "vocab_size",
               .positions = "n_positions",
               .norm_epsilon = "layer_norm_epsilon",
               .attention_bias = {},
               .mlp_bias = {}},
      .activation_key = "activation_function",
      .activations = {"gelu_new", "gelu_pytorch_tanh"},  // one function: the tanh form
      // Dropout is the deck's matter; the scores are scaled by 1/sqrt(head channels) and summed in float32 anyway.
      .neutral = {{"resid_pdrop"},
                  {"embd_pdrop"},
                  {"attn_pdrop"},
                  {"scale_attn_weights", {"true"}},
                  {"scale_attn_by_inverse_layer_idx", {"false"}},
                  {"reorder_and_upcast_attn"},
                  {"summary_type"},
                  {"summary_use_proj"},
                  {"summary_activation"},
                  {"summary_proj_to_labels"},
                  {"summary_first_dropout"},
                  {"_num_labels"},
                  {"output_past"}},
      .prefix = "transformer.",
      .embedding = "wte.weight",
      .blocks = "h.",
      .ignored_ends = {".attn.bias", ".attn.masked_bias"},
      .parameters = gpt2_names};
  return rules;
}

}  // namespace penstock
