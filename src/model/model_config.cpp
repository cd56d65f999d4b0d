// SPDX-License-Identifier: Apache-2.0
#include "model/model_config.hpp"

#include "model/families/families.hpp"

namespace penstock {

void ModelConfig::describe(FieldTable& table) {
  table.add("model.family", family, "the architecture").one_of(family_names());
  table.add("model.layers", layers, "transformer blocks").required().at_least(1);
  table.add("model.width", width, "channels of the residual stream").required().at_least(1);
  table.add("model.heads", heads, "attention heads of a block").required().at_least(1);
  table
      .add("model.kv_heads", kv_heads,
           "heads of keys and values, each shared by neighbouring heads of queries; 0: one for each head")
      .at_least(0);
  table.add("model.head_channels", head_channels, "channels of a head; 0: width / heads").unit("channels").at_least(0);
  table.add("model.hidden", hidden, "channels inside the MLP; 0: 4 * width").unit("channels").at_least(0);
  table.add("model.vocabulary", vocabulary, "different tokens; 256 is byte level").at_least(2).at_most(1 << 30);
  table.add("model.positions", positions, "the longest sequence").unit("tokens").required().at_least(1);
  table.add("model.norm_epsilon", norm_epsilon, "added to the mean square under RMSNorm's root")
      .above(0)
      .at_most(1)
      .used_as_float32();
  table
      .add("model.rope_theta", rope_theta,
           "base of the rotary angles: pair i of D channels turns by theta^(-2i/D) per position")
      .at_least(1);
  table
      .add("model.rope_scaling", rope_scaling, "how the rotary angles were changed for longer sequences",
           {{"none", ops::RotaryScaling::none},
            {"linear", ops::RotaryScaling::linear},
            {"llama3", ops::RotaryScaling::llama3},
            {"yarn", ops::RotaryScaling::yarn}})
      .advanced(
          "linear divides all angles by model.rope_factor. llama3 divides those with wavelengths above "
          "model.rope_original / model.rope_low positions, keeps those below model.rope_original / model.rope_high, "
          "and interpolates in between. yarn mixes both by pairs, and scales cosine and sine (arXiv 2309.00071), with "
          "the factors of its paper.");
  table.add("model.rope_factor", rope_factor, "of the scaling: by what factor sequences became longer").at_least(1);
  table.add("model.rope_low", rope_low, "of llama3: turns within rope_original below which an angle is divided")
      .above(0);
  table.add("model.rope_high", rope_high, "of llama3: turns within rope_original above which an angle is kept")
      .above(0);
  table.add("model.rope_original", rope_original, "of llama3 and yarn: the longest sequence before the scaling")
      .unit("tokens")
      .at_least(1);
  table.add("model.tied", tied, "whether the token table is the head's weight, too");
  table.add("model.attention_bias", attention_bias, "whether the products of attention have biases");
  table.add("model.mlp_bias", mlp_bias, "whether the products of the MLP have biases");
  table.add("model.window", window, "positions that a query sees, itself included; 0: all before it")
      .unit("tokens")
      .at_least(0);
  table.add("model.dropout_embedding", dropout_embedding, "share of the embedding's outputs set to zero")
      .at_least(0)
      .below(1);
  table.add("model.dropout_residual", dropout_residual, "share of each branch's outputs set to zero")
      .at_least(0)
      .below(1);
  table.add("model.dropout_attention", dropout_attention, "share of attention probabilities set to zero")
      .at_least(0)
      .below(1);
}

ModelConfig ModelConfig::spelled_out() const {
  ModelConfig model = *this;
  model.kv_heads = heads_of_keys();
  model.head_channels = channels_of_a_head();
  model.hidden = hidden_channels();
  return model;
}

ops::RotaryAngles ModelConfig::rotation() const {
  return {.theta = rope_theta,
          .scaling = rope_scaling,
          .factor = rope_factor,
          .low_frequency_factor = rope_low,
          .high_frequency_factor = rope_high,
          .original_positions = rope_original};
}

}  // namespace penstock
