// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tables of cosines and sines that a rank's attention reads, one for each rotation of the model.

#include <vector>

#include "device/copy.hpp"
#include "model/model_shape.hpp"
#include "tensor/arena.hpp"

namespace penstock {

class RotaryTables {
 public:
  /// `queue` may be null on a planning arena.
  RotaryTables(const ModelShape& shape, Queue* queue, Arena& arena);

  /// [T, D] float32; absent if the core has no rotation.
  TensorView of(const AttentionCore& attention) const;

 private:
  struct Table {
    ops::RotaryAngles angles;
    std::int64_t channels;
    TensorView values;
    HostMirror on_host;
  };
  std::vector<Table> tables_;
};

}  // namespace penstock
