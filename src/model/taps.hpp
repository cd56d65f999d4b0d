// SPDX-License-Identifier: Apache-2.0
#pragma once
// Taps: places of the model whose values a capture keeps.

#include <cstdint>
#include <string_view>

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock {

/// After a branch's name if its attention rotates: q and k as it reads them, after the norms of heads and the rotation.
inline constexpr std::string_view query_tap = ".query", key_tap = ".key";

/// Receives the values of taps while the model computes. A tensor is valid during the call only.
class TapSink {
 public:
  virtual ~TapSink() = default;
  virtual bool wants(std::string_view tap) const = 0;
  /// Rows of this rank, [rows, ...]; of microbatch `microbatch` of this replica. The queue may not have computed them
  /// yet.
  virtual void record(Queue& queue, std::string_view tap, int microbatch, TensorView values) = 0;
  /// The same for `columns` columns of the rows, beginning with column `first`: q or k of packed rows.
  virtual void record_columns(Queue&, std::string_view, int /*microbatch*/, TensorView /*rows*/, std::int64_t /*first*/,
                              std::int64_t /*columns*/) {}
  /// This rank's part of a sum over tensor ranks, on the way to the tap that comes next.
  virtual void record_part(Queue&, TensorView) {}
};

}  // namespace penstock
