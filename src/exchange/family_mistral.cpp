// SPDX-License-Identifier: Apache-2.0
// Mistral, after MistralConfig of transformers 5.24: Llama with fewer kv heads and a window.

#include "exchange/family_rules.hpp"

namespace penstock {
namespace {

FamilyRules make_mistral_rules() {
  FamilyRules rules = llama_like_rules();
  rules.family = rules.defaults.family = HuggingFaceFamily::mistral;
  rules.model_type = "mistral";
  rules.architecture = "MistralForCausalLM";
  rules.defaults.kv_heads = 8;
  rules.defaults.vocabulary = 32000;
  rules.defaults.hidden = 14336;
  rules.defaults.positions = 131072;
  rules.defaults.window = 4096;
  rules.window = WindowKeys::sliding_window;
  rules.neutral = {{"attention_bias", {"false"}}, {"mlp_bias", {"false"}}};
  return rules;
}

}  // namespace

const FamilyRules& mistral_rules() {
  static const FamilyRules rules = make_mistral_rules();
  return rules;
}

}  // namespace penstock
