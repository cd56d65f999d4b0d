// SPDX-License-Identifier: Apache-2.0
#pragma once
// FiniteCheck: a tap sink that finds the first value of a step that is not finite.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "device/memory.hpp"
#include "model/description.hpp"
#include "model/taps.hpp"

namespace penstock {

/// A tap that saw a value that is not finite. Sorted in the order of computing: by microbatch, forward before backward,
/// and along the model in either direction.
struct NonfiniteTap {
  int microbatch = 0;
  bool backward = false;
  int depth = 0;       ///< layers that came before it in its pass
  int order = 0;       ///< within the layer
  bool summed = true;  ///< false: in this rank's part of a sum over tensor ranks, before the tap
  std::string tap;

  auto operator<=>(const NonfiniteTap&) const = default;
  /// "blocks.3.mlp, forward pass".
  std::string text() const;
};

/// Whether all of a tensor in host memory is finite.
bool is_finite(TensorView values);

class FiniteCheck : public TapSink {
 public:
  explicit FiniteCheck(const ModelDescription& model)
      : layers_(static_cast<int>(model.layers())), branches_(model.branch_names()) {}

  bool wants(std::string_view) const override { return true; }
  void record(Queue& queue, std::string_view tap, int microbatch, TensorView values) override;
  void record_part(Queue& queue, TensorView values) override;

  const std::optional<NonfiniteTap>& first() const { return first_; }

 private:
  bool finds(Queue& queue, TensorView values);
  void note(NonfiniteTap tap);

  int layers_;
  std::vector<std::string> branches_;
  bool part_found_ = false;  ///< since the last tap
  std::optional<NonfiniteTap> first_;
  HostMemory landing_;
};

}  // namespace penstock
