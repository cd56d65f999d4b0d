// SPDX-License-Identifier: Apache-2.0
#pragma once
// The config.json of a Hugging Face directory as a value, and the value as a config.json.

#include <cstdint>
#include <string>
#include <string_view>

#include "tensor/dtype.hpp"

namespace penstock {

/// The values of `model_type` that are known. What is particular to one is in its file, family_<name>.cpp.
enum class HuggingFaceFamily : std::uint8_t { gpt2, llama, mistral, qwen2, qwen3 };

std::string_view name_of(HuggingFaceFamily family);

enum class RopeKind : std::uint8_t { none, linear, llama3, yarn };

/// How rotary frequencies are changed for longer sequences. Members that the kind does not use have these defaults.
struct RopeScaling {
  RopeKind kind = RopeKind::none;
  double factor = 1;
  double low = 0;             ///< low_freq_factor of llama3
  double high = 0;            ///< high_freq_factor of llama3
  std::int64_t original = 0;  ///< original_max_position_embeddings of llama3 and yarn

  bool operator==(const RopeScaling&) const = default;
};

struct HuggingFaceConfig {
  HuggingFaceFamily family = HuggingFaceFamily::gpt2;
  std::int64_t layers = 0;
  std::int64_t width = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_channels = 0;  ///< heads * head_channels need not be the width
  std::int64_t hidden = 0;         ///< channels inside the MLP
  std::int64_t vocabulary = 0;
  std::int64_t positions = 0;
  double norm_epsilon = 0;
  double rope_theta = 0;  ///< 0: positions are learned, not rotary
  RopeScaling rope_scaling = {};
  bool tied = false;            ///< the head is the token embedding
  bool attention_bias = false;  ///< of q, k and v; see attention_output_bias()
  bool mlp_bias = false;
  bool query_key_norm = false;
  std::int64_t window = 0;  ///< a position sees itself and the window - 1 before it; 0: all before it

  bool rotary() const { return rope_theta > 0; }
  /// qwen2 has biases on q, k and v alone.
  bool attention_output_bias() const { return attention_bias && family != HuggingFaceFamily::qwen2; }
  bool operator==(const HuggingFaceConfig&) const = default;
};

/// Reads the text of a config.json; missing keys have the value that transformers gives them for this model_type.
/// Throws one InputError with all mistakes, each beginning with `where`: no JSON object, an unknown model_type, a value
/// of a wrong kind, values that do not fit each other, settings that Penstock's models do not compute, and unknown
/// keys, unless their value is null.
HuggingFaceConfig parse_hugging_face_config(std::string_view text, std::string_view where);

/// A config.json for a model whose tensors are stored in `type`, with a newline at its end. Token ids are null: no
/// model description knows them. Throws InputError if the family has no key for a value of `config`.
std::string hugging_face_config_text(const HuggingFaceConfig& config, DType type);

/// The config.json of a model that was made from another one: `original`, byte for byte, except for values (and missing
/// keys) that differ in `config` and `type`. Throws InputError if the original is damaged, of another family, or unable
/// to express `config`.
std::string hugging_face_config_like(std::string_view original, std::string_view where, const HuggingFaceConfig& config,
                                     DType type);

}  // namespace penstock
