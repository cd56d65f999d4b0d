// SPDX-License-Identifier: Apache-2.0
#pragma once
// HuggingFaceExport: the parameters of a Penstock model as a Hugging Face directory that is to be written.

#include <cstdint>
#include <string_view>
#include <vector>

#include "exchange/exchanged_parameter.hpp"
#include "exchange/safetensors_writer.hpp"
#include "parameter/box.hpp"

namespace penstock {

/// A value: every process makes the same one for itself.
class HuggingFaceExport {
 public:
  /// transformers writes shards of at most 5 GB.
  static constexpr std::uint64_t usual_shard_bytes = 5'000'000'000;

  /// `type` is float32 or bfloat16. `prefixed`: see exchanged_parameters; a copy of another directory has its names.
  HuggingFaceExport(const HuggingFaceConfig& config, DType type, std::uint64_t most_shard_bytes = usual_shard_bytes,
                    bool prefixed = true);

  /// In Penstock's order.
  const std::vector<ExchangedParameter>& parameters() const { return parameters_; }
  const SafetensorsPlan& plan() const { return plan_; }

  /// Writes a box of a parameter (an index into parameters()), dense, from `values` on.
  void write_box(SafetensorsWriter& writer, std::size_t parameter, const Box& box, const float* values) const;

 private:
  std::vector<ExchangedParameter> parameters_;
  SafetensorsPlan plan_;
};

}  // namespace penstock
