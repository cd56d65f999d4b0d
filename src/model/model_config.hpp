// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a deck says about the model.

#include <cstdint>
#include <string>

#include "config/field_table.hpp"

namespace penstock {

struct ModelConfig {
  std::string family = "gpt2";
  std::int64_t layers = 0;
  std::int64_t width = 0;  ///< C, channels of the residual stream
  std::int64_t heads = 0;
  std::int64_t vocabulary = 256;
  std::int64_t positions = 0;  ///< longest sequence
  double dropout_embedding = 0;
  double dropout_residual = 0;
  double dropout_attention = 0;

  std::int64_t head_channels() const { return heads > 0 ? width / heads : 0; }
  std::int64_t hidden() const { return 4 * width; }  ///< channels inside the MLP

  void describe(FieldTable& table);
};

}  // namespace penstock
