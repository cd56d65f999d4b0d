// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen2.5, after Qwen2Config of transformers 5.24: Llama with biases on q, k and v, which no key mentions.

#include "exchange/family_rules.hpp"

namespace penstock {
namespace {

FamilyRules make_qwen2_rules() {
  FamilyRules rules = llama_like_rules();
  rules.family = rules.defaults.family = HuggingFaceFamily::qwen2;
  rules.model_type = "qwen2";
  rules.architecture = "Qwen2ForCausalLM";
  rules.defaults.kv_heads = 32;
  rules.defaults.vocabulary = 151936;
  rules.defaults.hidden = 22016;
  rules.defaults.positions = 32768;
  rules.defaults.window = 4096;
  rules.defaults.attention_bias = true;
  rules.window = WindowKeys::per_layer;
  rules.neutral = {{"attention_bias", {"true"}}, {"mlp_bias", {"false"}}, {"use_mrope", {"false"}}};
  return rules;
}

}  // namespace

const FamilyRules& qwen2_rules() {
  static const FamilyRules rules = make_qwen2_rules();
  return rules;
}

}  // namespace penstock
