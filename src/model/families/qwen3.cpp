// SPDX-License-Identifier: Apache-2.0
// Qwen3 (Yang et al., arXiv 2505.09388): Llama with an RMSNorm of each head of q and k.

#include "model/families/llama.hpp"

namespace penstock {

namespace {

ModelDescription describe_qwen3(const ModelConfig& config) {
  return describe_llama(
      config, {.qkv_bias = config.attention_bias, .output_bias = config.attention_bias, .query_key_norm = true});
}

constexpr auto qwen3_keys = llama_keys_and("model.attention_bias");

}  // namespace

const Family qwen3_family{
    .name = "qwen3", .describe = describe_qwen3, .keys_of_function = llama_function_keys, .keys = qwen3_keys};

}  // namespace penstock
