// SPDX-License-Identifier: Apache-2.0
#pragma once
// Common parts of the families that descend from Llama (Touvron et al., arXiv 2302.13971): RMSNorm, rotary positions,
// fewer heads of k and v than of q (Ainslie et al., arXiv 2305.13245), SwiGLU.

#include <array>

#include "model/families/families.hpp"

namespace penstock {

/// Their differences.
struct LlamaTraits {
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  bool query_key_norm = false;
  std::int64_t window = 0;
};
ModelDescription describe_llama(const ModelConfig& config, const LlamaTraits& traits);

/// The deck keys that all of them have; and those that change what is computed, but no shape.
inline constexpr std::array<std::string_view, 11> llama_keys{
    "model.kv_heads",   "model.head_channels", "model.hidden",      "model.norm_epsilon",
    "model.rope_theta", "model.rope_scaling",  "model.rope_factor", "model.rope_low",
    "model.rope_high",  "model.rope_original", "model.tied"};
inline constexpr std::array<std::string_view, 9> llama_function_keys{
    "model.heads",       "model.kv_heads", "model.norm_epsilon", "model.rope_theta",   "model.rope_scaling",
    "model.rope_factor", "model.rope_low", "model.rope_high",    "model.rope_original"};

/// Those and a family's own.
template <typename... Own>
constexpr auto llama_keys_and(Own... own) {
  std::array<std::string_view, llama_keys.size() + sizeof...(own)> all{};
  std::size_t i = 0;
  for (const std::string_view key : llama_keys) all[i++] = key;
  ((all[i++] = own), ...);
  return all;
}

}  // namespace penstock
