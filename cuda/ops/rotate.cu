// SPDX-License-Identifier: Apache-2.0
#include "ops/rotate.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "ops/column_sums.hpp"
#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

// A team of lanes handles a head. Each lane has eight neighbours of the first half and eight of the second: the pairs
// that turn together. The size of a team is a power of two, so that sums over a head stay in a warp.
constexpr std::int64_t most_channels = 2 * eight * warp_threads;

/// Heads that a thread has at once, so that enough loads are in flight and one read of angles serves them all.
constexpr int heads_at_once = 4;

/// Both passes' tensors in a kernel.
template <typename T>
struct Rotation {
  const T* from;  ///< qkv, or dout in the backward pass
  T* to;          ///< out, or dqkv
  const T* qkv;   ///< the forward pass's input, for the gradient of norms
  const float* table;
  const float* query_norm;  ///< null without norms
  const float* key_norm;
  float* rstd;
  float epsilon;
  std::int64_t rows;
  std::int64_t sequence;
  std::int64_t row_width;
  int channels;
  int half;        ///< D / 2
  int heads;       ///< of q
  int turned;      ///< of q and k
  int visited;     ///< heads of a row that are visited: also those of v, if they must be copied
  int team;        ///< lanes of a head
  float backward;  ///< 1, or -1: sines change their sign
  bool aligned;

  Rotation(const AttentionShape& shape, const TensorView& read, const TensorView& written, const TensorView& angles,
           const TensorView& norm_of_queries, const TensorView& norm_of_keys, const TensorView& reciprocals)
      : from(device_data<T>(read)),
        to(device_data<T>(written)),
        qkv(nullptr),
        table(angles.data<float>()),
        query_norm(device_data<float>(norm_of_queries)),
        key_norm(device_data<float>(norm_of_keys)),
        rstd(device_data<float>(reciprocals)),
        epsilon(0),
        rows(read.shape()[0]),
        sequence(shape.sequence),
        row_width(shape.packed_width()),
        channels(static_cast<int>(shape.channels)),
        half(channels / 2),
        heads(static_cast<int>(shape.heads)),
        turned(static_cast<int>(shape.heads + shape.key_heads())),
        visited(read.raw() == written.raw() ? turned : static_cast<int>(shape.heads + 2 * shape.key_heads())),
        team(static_cast<int>(std::bit_ceil(static_cast<unsigned>(parts_of(half, eight))))),
        backward(1),
        aligned(rows_are_aligned(half, eight, {from, to, table, query_norm, key_norm})) {}
};

/// Eight pairs: channels c to c + 7 of a head's first half, and those of its second.
struct EightPairs {
  Eight low, high;
};

template <typename T>
struct PackedPairs {
  PackedEight<T> low, high;
};

template <typename T>
__device__ PackedPairs<T> load_pairs(const T* head, int half, int c, bool aligned) {
  if (aligned) return {load_packed_aligned(head + c), load_packed_aligned(head + half + c)};
  return {load_packed_singly(head + c, half - c), load_packed_singly(head + half + c, half - c)};
}

template <typename T>
__device__ EightPairs unpack(const PackedPairs<T>& pairs) {
  return {unpack(pairs.low), unpack(pairs.high)};
}

template <typename T>
__device__ void store_pairs(T* head, int half, int c, const EightPairs& pairs, bool aligned) {
  store_eight(head + c, pairs.low, half - c, aligned);
  store_eight(head + half + c, pairs.high, half - c, aligned);
}

/// Rotates by the angles whose cosines (low) and sines (high) are in a row of the table; backwards if `backward` is -1.
__device__ EightPairs turned_by(const EightPairs& angles, float backward, const EightPairs& x) {
  EightPairs y;
#pragma unroll
  for (int i = 0; i < eight; ++i) {
    const float sine = angles.high[i] * backward;
    y.low[i] = fmaf(x.low[i], angles.low[i], -(x.high[i] * sine));
    y.high[i] = fmaf(x.high[i], angles.low[i], x.low[i] * sine);
  }
  return y;
}

/// The row of the table for row r. (A remainder in 64 bits costs a hundred instructions.)
template <typename T>
__device__ const float* angles_of_row(const Rotation<T>& rotation, std::int64_t r) {
  const std::int64_t sequence = rotation.sequence;
  const std::int64_t position =
      (r | sequence) >> 32 != 0 ? r % sequence : static_cast<std::uint32_t>(r) % static_cast<std::uint32_t>(sequence);
  return rotation.table + position * rotation.channels;
}

/// The sum over the lanes of a team, the same bits in each. All lanes of the warp call it.
__device__ float team_sum(float value, int team) {
  for (int distance = team / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(every_lane, value, distance);
  return value;
}

/// Each thread handles eight pairs of some heads of one row. Rows are walked from the last to the first: the end of
/// what the product before wrote is still in the L2 cache.
template <typename T, bool with_norms>
__global__ void __launch_bounds__(block_threads) rotate_heads(const Rotation<T> rotation) {
  const int team = rotation.team, half = rotation.half;
  const int groups = (rotation.visited + heads_at_once - 1) / heads_at_once;
  const PlaceInRow place = place_of_thread(static_cast<std::int64_t>(groups) * team);
  const int lane = static_cast<int>(place.block) % team,
            first_head = static_cast<int>(place.block) / team * heads_at_once;
  const int c = lane * eight;
  const std::int64_t r = rotation.rows - 1 - place.row;
  const bool there = r >= 0 && c < half;
  const T* from = rotation.from + r * rotation.row_width;
  PackedPairs<T> x[heads_at_once] = {};
#pragma unroll
  for (int i = 0; i < heads_at_once; ++i)
    if (there && first_head + i < rotation.visited)
      x[i] = load_pairs(from + (first_head + i) * rotation.channels, half, c, rotation.aligned);
  EightPairs angles{};
  if (there) angles = unpack(load_pairs(angles_of_row(rotation, r), half, c, rotation.aligned));
#pragma unroll
  for (int i = 0; i < heads_at_once; ++i) {
    const int head = first_head + i;
    EightPairs values = unpack(x[i]);
    if constexpr (with_norms) {
      float squares = 0;  // what lies after the last channel is zero
#pragma unroll
      for (int k = 0; k < eight; ++k)
        squares = fmaf(values.low[k], values.low[k], fmaf(values.high[k], values.high[k], squares));
      squares = team_sum(squares, team);
      if (there && head < rotation.turned) {
        const float rstd = 1.0F / sqrtf(squares / static_cast<float>(rotation.channels) + rotation.epsilon);
        const float* weight = head < rotation.heads ? rotation.query_norm : rotation.key_norm;
        const EightPairs weights = unpack(load_pairs(weight, half, c, rotation.aligned));
#pragma unroll
        for (int k = 0; k < eight; ++k) {
          values.low[k] = rounded<T>(values.low[k] * rstd) * weights.low[k];
          values.high[k] = rounded<T>(values.high[k] * rstd) * weights.high[k];
        }
        if (lane == 0) rotation.rstd[r * rotation.turned + head] = rstd;
      }
    }
    if (!there || head >= rotation.visited) continue;
    if (head < rotation.turned) values = turned_by(angles, rotation.backward, values);
    store_pairs(rotation.to + r * rotation.row_width + head * rotation.channels, half, c, values, rotation.aligned);
  }
}

// The gradient of norms: a fixed number of blocks. Each team takes heads of q a grid apart, then heads of k, and keeps
// the sums of the weight's gradient in registers; at the end the sums of a block's teams are added in order.

/// The number of blocks on every card, so that the order of the sums is a function of the shape: two on each
/// multiprocessor of an H100 or H200.
constexpr std::int64_t most_blocks = 264;
std::int64_t blocks_of_gradient(std::int64_t rows) { return std::min(most_blocks, rows); }

/// dqkv of the heads [begin, begin + count) of all rows, whose weight is `weight`; returns the thread's sums of the
/// weight's gradient.
template <typename T>
__device__ EightPairs differentiate_heads(const Rotation<T>& rotation, int begin, int count, const float* weight) {
  const int team = rotation.team, half = rotation.half;
  const int lane = static_cast<int>(threadIdx.x) % team, c = lane * eight;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * (block_threads / team),
                     all = rotation.rows * count;
  EightPairs sums{}, weights{};
  if (c < half) weights = unpack(load_pairs(weight, half, c, rotation.aligned));
  const std::int64_t of_warp = (grid_thread() - lane_of_thread()) / team;  // the first of the warp's heads
  for (std::int64_t first = of_warp; first < all; first += stride) {       // equally often for all lanes of a warp
    const std::int64_t number = first + lane_of_thread() / team;
    const bool there = number < all && c < half;
    const auto from_last = static_cast<unsigned>(number), heads = static_cast<unsigned>(count);
    const std::int64_t r = rotation.rows - 1 - from_last / heads;
    const int head = begin + static_cast<int>(from_last % heads);
    const std::int64_t at = r * rotation.row_width + head * rotation.channels;
    EightPairs dn{}, z{};
    float rstd = 0, sum = 0;
    if (there) {
      const PackedPairs<T> dy = load_pairs(rotation.from + at, half, c, rotation.aligned);
      const PackedPairs<T> x = load_pairs(rotation.qkv + at, half, c, rotation.aligned);
      const EightPairs angles = unpack(load_pairs(angles_of_row(rotation, r), half, c, rotation.aligned));
      rstd = rotation.rstd[r * rotation.turned + head];
      dn = turned_by(angles, -1.0F, unpack(dy));
      z = unpack(x);
    }
#pragma unroll
    for (int i = 0; i < eight; ++i) {
      z.low[i] *= rstd;
      z.high[i] *= rstd;
      sums.low[i] = fmaf(dn.low[i], z.low[i], sums.low[i]);
      sums.high[i] = fmaf(dn.high[i], z.high[i], sums.high[i]);
      dn.low[i] *= weights.low[i];
      dn.high[i] *= weights.high[i];
      sum = fmaf(dn.low[i], z.low[i], fmaf(dn.high[i], z.high[i], sum));
    }
    const float mean = team_sum(sum, team) / static_cast<float>(rotation.channels);
    if (!there) continue;
#pragma unroll
    for (int i = 0; i < eight; ++i) {
      dn.low[i] = fmaf(-z.low[i], mean, dn.low[i]) * rstd;
      dn.high[i] = fmaf(-z.high[i], mean, dn.high[i]) * rstd;
    }
    store_pairs(rotation.to + at, half, c, dn, rotation.aligned);
  }
  return sums;
}

/// The block's sum of its teams' sums to `to`, D numbers. All threads call it.
__device__ void add_teams(const EightPairs& sums, int team, int half, float* to) {
  __shared__ __align__(16) float of_teams[2 * eight * block_threads];  // [teams, 2, eight * team]
  const int lane = static_cast<int>(threadIdx.x) % team, teams = block_threads / team, width = eight * team;
  float* own = of_teams + static_cast<int>(threadIdx.x) / team * 2 * width + lane * eight;
  __syncthreads();  // nobody reads the earlier sums any longer
  store_aligned(own, sums.low);
  store_aligned(own + width, sums.high);
  __syncthreads();
  for (int column = static_cast<int>(threadIdx.x); column < 2 * half; column += block_threads) {
    const int place = column < half ? column : width + column - half;
    float sum = 0;
    for (int other = 0; other < teams; ++other) sum += of_teams[other * 2 * width + place];
    to[column] = sum;
  }
}

/// partial [blocks, 2, D]: each block's part of the gradients of q's and k's weights.
template <typename T>
__global__ void __launch_bounds__(block_threads, 2) differentiate_norms(const Rotation<T> rotation, float* partial) {
  float* own = partial + static_cast<std::int64_t>(blockIdx.x) * 2 * rotation.channels;
  const EightPairs of_queries = differentiate_heads(rotation, 0, rotation.heads, rotation.query_norm);
  add_teams(of_queries, rotation.team, rotation.half, own);
  const EightPairs of_keys =
      differentiate_heads(rotation, rotation.heads, rotation.turned - rotation.heads, rotation.key_norm);
  add_teams(of_keys, rotation.team, rotation.half, own + rotation.channels);
}

void check_channels(const AttentionShape& shape) {
  if (shape.channels > most_channels)
    throw InputError("rotate: a head of " + std::to_string(shape.channels) +
                     " channels is too wide for a warp, which takes " + std::to_string(most_channels) +
                     "; use more heads");
}

template <typename T>
void launch_rotation(Queue& queue, const Rotation<T>& rotation) {
  const std::int64_t threads = rotation.rows * parts_of(rotation.visited, heads_at_once) * rotation.team;
  const auto kernel = rotation.query_norm ? rotate_heads<T, true> : rotate_heads<T, false>;
  kernel<<<grid_of(threads), block_threads, 0, stream_of(queue)>>>(rotation);
  check_launch();
}

template <typename T>
void launch_gradient_of_norms(Queue& queue, const Rotation<T>& rotation, const RotateGradient& arguments) {
  ensure(rotation.rows * rotation.heads < std::int64_t{1} << 31, "rotate_gradient: more than 2^31 heads");
  const std::int64_t blocks = blocks_of_gradient(rotation.rows), channels = rotation.channels;
  auto* partial = reinterpret_cast<float*>(queue.workspace(rotate_workspace(rotation.rows, channels, queue.threads())));
  differentiate_norms<<<grid_of(blocks, 1), block_threads, 0, stream_of(queue)>>>(rotation, partial);
  check_launch();
  add_sums_of_pieces(queue, partial, blocks, {arguments.dquery_norm.data<float>(), channels},
                     {arguments.dkey_norm.data<float>(), channels}, arguments.accumulate);
  if (rotation.from == rotation.to) return;
  const std::size_t pitch = static_cast<std::size_t>(rotation.row_width) * sizeof(T);
  const std::int64_t first = static_cast<std::int64_t>(rotation.turned) * channels;
  check_cuda(cudaMemcpy2DAsync(rotation.to + first, pitch, rotation.from + first, pitch,
                               static_cast<std::size_t>(rotation.row_width - first) * sizeof(T),
                               static_cast<std::size_t>(rotation.rows), cudaMemcpyDeviceToDevice, stream_of(queue)));
}

}  // namespace

void rotate(Queue& queue, const Rotate& arguments) {
  check_rotation(arguments);
  check_channels(arguments.shape);
  if (arguments.qkv.elements() == 0) return;
  with_device_type(arguments.qkv.type(), [&]<typename T>(T) {
    Rotation<T> rotation(arguments.shape, arguments.qkv, arguments.out, arguments.table, arguments.query_norm,
                         arguments.key_norm, arguments.rstd);
    rotation.epsilon = arguments.epsilon;
    launch_rotation(queue, rotation);
  });
}

void rotate_gradient(Queue& queue, const RotateGradient& arguments) {
  check_rotation(arguments);
  check_channels(arguments.shape);
  if (arguments.dout.elements() == 0) return;
  with_device_type(arguments.dout.type(), [&]<typename T>(T) {
    Rotation<T> rotation(arguments.shape, arguments.dout, arguments.dqkv, arguments.table, arguments.query_norm,
                         arguments.key_norm, arguments.rstd);
    rotation.backward = -1;
    if (!arguments.query_norm.present()) {
      launch_rotation(queue, rotation);
      return;
    }
    rotation.qkv = device_data<T>(arguments.qkv);
    rotation.aligned = rotation.aligned && rows_are_aligned(rotation.half, eight, {rotation.qkv});
    launch_gradient_of_norms(queue, rotation, arguments);
  });
}

std::size_t rotate_workspace(std::int64_t rows, std::int64_t channels, int) {
  return static_cast<std::size_t>(blocks_of_gradient(rows) * 2 * channels) * sizeof(float);
}

}  // namespace penstock::ops
