// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the channels of a row are spread over its threads, each of which keeps its own in registers; and the kinds of
// norms of such rows.

#include <utility>

#include "ops/kernel.cuh"

namespace penstock::ops {

/// What a row is divided by: LayerNorm's deviation, after subtracting the mean, with a bias at the end, or RMSNorm's
/// root of the mean square.
enum class NormKind { layer, rms };

/// A row on `warps` warps; each lane has `vectors` groups of 8 neighbours, a row's width of threads apart, so that a
/// warp reads 512 neighbouring bytes of bfloat16 at once. For rows of up to `most_channels` channels.
template <int vectors_of_a_lane, int warps_of_a_row>
struct RowLayout {
  static constexpr int vectors = vectors_of_a_lane;
  static constexpr int warps = warps_of_a_row;
  static constexpr int threads = warps * warp_threads;
  static constexpr int most_channels = vectors * threads * eight;

  /// The thread's number among those of its row, and the row's among those of the block.
  __device__ static int thread() { return static_cast<int>(threadIdx.x) % threads; }
  __device__ static int row_of_block() { return static_cast<int>(threadIdx.x) / threads; }
  /// The first channel of the thread's group `vector`.
  __device__ static int channel(int vector) { return (vector * threads + thread()) * eight; }
};

/// The thread's part of a row; zero after the last channel. Aligned rows have only whole groups.
template <typename Layout, typename T>
__device__ void load_row(const T* row, int channels, bool aligned, PackedEight<T> (&to)[Layout::vectors]) {
  if (aligned) {
#pragma unroll
    for (int v = 0; v < Layout::vectors; ++v) {
      const int c = Layout::channel(v);
      to[v] = c < channels ? load_packed_aligned(row + c) : PackedEight<T>{};
    }
  } else {
#pragma unroll
    for (int v = 0; v < Layout::vectors; ++v)
      to[v] = load_packed_singly(row + Layout::channel(v), channels - Layout::channel(v));
  }
}

/// Channels that a warp reads at once if a row is too wide for that.
inline constexpr std::int64_t channels_at_once = eight * warp_threads;

/// Calls f(layout) with the first of the layouts that holds rows of this many channels; false if none does.
template <typename... Layouts, typename F>
bool with_first_layout(std::int64_t channels, F&& f) {
  bool done = false;
  const auto attempt = [&]<typename Layout>(Layout layout) {
    if (done || channels > Layout::most_channels) return;
    f(layout);
    done = true;
  };
  (attempt(Layouts{}), ...);
  return done;
}

}  // namespace penstock::ops
