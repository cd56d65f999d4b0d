// SPDX-License-Identifier: Apache-2.0
#pragma once
// Taps: places of the model whose values a capture keeps.

#include <string_view>

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock {

/// Receives the values of taps while the model computes. A tensor is valid only during the call.
class TapSink {
 public:
  virtual ~TapSink() = default;
  virtual bool wants(std::string_view tap) const = 0;
  /// Rows of this rank, [rows, ...]; of microbatch `microbatch` of this replica. The queue may not have computed them
  /// yet.
  virtual void record(Queue& queue, std::string_view tap, int microbatch, TensorView values) = 0;
  /// This rank's part of a sum over tensor ranks, before the next tap.
  virtual void record_part(Queue&, TensorView) {}
};

}  // namespace penstock
