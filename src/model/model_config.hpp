// SPDX-License-Identifier: Apache-2.0
#pragma once
// The [model] section of a deck.

#include <cstdint>
#include <string>

#include "config/field_table.hpp"
#include "ops/rotary_table.hpp"

namespace penstock {

struct ModelConfig {
  std::string family = "gpt2";
  std::int64_t layers = 0;
  std::int64_t width = 0;  ///< C, channels of the residual stream
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;       ///< 0: as many as heads
  std::int64_t head_channels = 0;  ///< 0: width / heads
  std::int64_t hidden = 0;         ///< channels inside the MLP; 0: 4 * width
  std::int64_t vocabulary = 256;
  std::int64_t positions = 0;  ///< longest sequence
  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  ops::RotaryScaling rope_scaling = ops::RotaryScaling::none;
  double rope_factor = 1;
  double rope_low = 1;
  double rope_high = 4;
  std::int64_t rope_original = 8192;
  bool tied = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::int64_t window = 0;  ///< 0: none
  double dropout_embedding = 0;
  double dropout_residual = 0;
  double dropout_attention = 0;

  std::int64_t heads_of_keys() const { return kv_heads > 0 ? kv_heads : heads; }
  std::int64_t channels_of_a_head() const { return head_channels > 0 ? head_channels : heads > 0 ? width / heads : 0; }
  std::int64_t hidden_channels() const { return hidden > 0 ? hidden : 4 * width; }
  ops::RotaryAngles rotation() const;
  /// The same model, with every 0 that means a default replaced by its value.
  ModelConfig spelled_out() const;

  void describe(FieldTable& table);
};

}  // namespace penstock
