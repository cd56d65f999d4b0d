// SPDX-License-Identifier: Apache-2.0
// Qwen2 and 2.5 (Yang et al., arXiv 2407.10671): Llama with biases on q, k and v.

#include "model/families/llama.hpp"

namespace penstock {

namespace {

ModelDescription describe_qwen2(const ModelConfig& config) { return describe_llama(config, {.qkv_bias = true}); }

}  // namespace

const Family qwen2_family{
    .name = "qwen2", .describe = describe_qwen2, .keys_of_function = llama_function_keys, .keys = llama_keys};

}  // namespace penstock
