// SPDX-License-Identifier: Apache-2.0
#pragma once
// Kernels over a list of pieces: blocks are numbered through all pieces; `first_block` is a piece's first.

#include <cstdint>

#include "ops/kernel.cuh"

namespace penstock::ops {

/// The piece of a block: the last one whose first block is not after it.
template <typename Piece>
__device__ int piece_of_block(const Piece* pieces, int count, int block) {
  int piece = 0, behind = count;
  while (behind - piece > 1) {
    const int middle = (piece + behind) / 2;
    if (pieces[middle].first_block <= block)
      piece = middle;
    else
      behind = middle;
  }
  return piece;
}

/// Elements of a piece in device memory: float32 or bfloat16, or none.
struct DeviceElements {
  const void* first;
  bool is_bfloat16;

  explicit DeviceElements(const TensorView& view) : first(view.raw()), is_bfloat16(view.type() == DType::bfloat16) {
    ensure(is_bfloat16 || view.type() == DType::float32, "a piece is neither float32 nor bfloat16");
  }
  DeviceElements() = default;

  __device__ bool present() const { return first != nullptr; }
  /// Eight neighbours from element `at` on, of which `count` exist.
  __device__ Eight load(std::int64_t at, std::int64_t count, bool aligned) const {
    if (is_bfloat16) return load_eight(static_cast<const __nv_bfloat16*>(first) + at, count, aligned);
    return load_eight(static_cast<const float*>(first) + at, count, aligned);
  }
  /// Four neighbours.
  __device__ void load(std::int64_t at, std::int64_t count, bool aligned, float (&to)[four]) const {
    const auto take = [&](const auto& packed) {
#pragma unroll
      for (int i = 0; i < four; ++i) to[i] = packed[i];
    };
    if (is_bfloat16)
      take(load_four(static_cast<const __nv_bfloat16*>(first) + at, count, aligned));
    else
      take(load_four(static_cast<const float*>(first) + at, count, aligned));
  }
};

}  // namespace penstock::ops
