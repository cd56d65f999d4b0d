// SPDX-License-Identifier: Apache-2.0
// Qwen3, after Qwen3Config of transformers 5.24: Llama with norms of each head's queries and keys, and heads of 128
// channels whatever the width.

#include "exchange/family_rules.hpp"

namespace penstock {
namespace {

FamilyRules make_qwen3_rules() {
  FamilyRules rules = llama_like_rules();
  rules.family = rules.defaults.family = HuggingFaceFamily::qwen3;
  rules.model_type = "qwen3";
  rules.architecture = "Qwen3ForCausalLM";
  rules.defaults.kv_heads = 32;
  rules.defaults.head_channels = 128;
  rules.defaults.vocabulary = 151936;
  rules.defaults.hidden = 22016;
  rules.defaults.positions = 32768;
  rules.defaults.window = 4096;
  rules.defaults.query_key_norm = true;
  rules.keys.attention_bias = "attention_bias";
  rules.window = WindowKeys::per_layer;
  rules.neutral = {{"mlp_bias", {"false"}}};
  return rules;
}

}  // namespace

const FamilyRules& qwen3_rules() {
  static const FamilyRules rules = make_qwen3_rules();
  return rules;
}

}  // namespace penstock
