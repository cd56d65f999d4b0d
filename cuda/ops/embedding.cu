// SPDX-License-Identifier: Apache-2.0
#include "ops/embedding.hpp"

#include <algorithm>
#include <bit>

#include "ops/dropout.cuh"
#include "ops/elementwise.hpp"
#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

/// Each thread handles 8 channels of one token.
template <typename T>
__global__ void copy_token_rows(const std::int32_t* tokens, std::int64_t count, const T* weight,
                                std::int64_t first_token, std::int64_t rows_here, T* out, std::int64_t channels,
                                bool aligned) {
  const PlaceInRow place = place_of_thread(parts_of(channels, eight));
  const std::int64_t n = place.row, c = place.block * eight;
  if (n >= count) return;
  const std::int64_t row = tokens[n] - first_token;
  const bool here = row >= 0 && row < rows_here;
  const Eight values = here ? load_eight(weight + row * channels + c, channels - c, aligned) : Eight{};
  store_eight(out + n * channels + c, values, channels - c, aligned);
}

// The gradient of the token table is added up without atomics. A block owns some rows of the table: its warps scan all
// tokens, list those of its rows, and sort the list by rows, within a row in the order of the tokens. Then each warp
// adds a slice of the channels, row after row, with many loads in flight.
constexpr int channels_of_a_lane = four;
constexpr int channels_of_a_warp = channels_of_a_lane * warp_threads;
constexpr int fewest_warps = 4, most_warps = 16;
constexpr int tokens_of_a_lane = 4;  ///< that it examines before the block's warps agree on places in the list
constexpr int tokens_of_a_warp = tokens_of_a_lane * warp_threads;
constexpr int worth_adding = 512;  ///< matches after which the search is interrupted
constexpr int list_length = worth_adding + most_warps * tokens_of_a_warp;
constexpr std::int64_t wanted_warps = 4096;

/// A token whose row of the table is the block's.
struct Match {
  std::int32_t token;
  std::int32_t row;
};

/// The lane's channels of the row that is being summed; they stay in registers until the next row.
template <typename T, bool aligned>
struct OpenRow {
  const T* dout;   ///< row 0, at the lane's first channel
  float* dweight;  ///< likewise
  std::int64_t channels;
  std::int64_t count;  ///< channels from the lane's first on; may be less than four, or not positive
  std::int32_t row = -1;
  float sums[channels_of_a_lane] = {};

  template <typename Element>
  __device__ PackedFour<Element> load_lane(const Element* from) const {
    if constexpr (aligned)
      return count > 0 ? load_four(from) : PackedFour<Element>{};
    else
      return load_four_singly(from, count);
  }
  __device__ PackedFour<T> values_of(std::int32_t token) const { return load_lane(dout + token * channels); }
  __device__ PackedFour<float> sums_of(std::int32_t other) const {
    return load_lane<float>(dweight + other * channels);
  }

  __device__ void open(std::int32_t other, const PackedFour<float>& stored) {
    close();
    row = other;
#pragma unroll
    for (int i = 0; i < channels_of_a_lane; ++i) sums[i] = stored[i];
  }
  __device__ void add(const PackedFour<T>& values) {
#pragma unroll
    for (int i = 0; i < channels_of_a_lane; ++i) sums[i] += values[i];
  }
  __device__ void close() const {
    if (row < 0) return;
    float* to = dweight + row * channels;
    if constexpr (aligned) {
      if (count > 0) *reinterpret_cast<float4*>(to) = make_float4(sums[0], sums[1], sums[2], sums[3]);
    } else {
#pragma unroll
      for (int i = 0; i < channels_of_a_lane; ++i)
        if (i < count) to[i] = sums[i];
    }
  }
};

/// Adds a list that is sorted by rows to the lane's channels of these rows.
template <typename T, bool aligned>
__device__ void add_matches(const Match* list, int length, OpenRow<T, aligned> open) {
  constexpr int matches_in_flight = aligned ? 12 : 4;
  constexpr int run_in_flight = sizeof(T) == sizeof(float) ? matches_in_flight : 2 * matches_in_flight;
  int first = 0;
  while (first < length) {
    if (first + run_in_flight <= length && list[first + run_in_flight - 1].row == open.row) {  // a frequent token
      PackedFour<T> values[run_in_flight];
#pragma unroll
      for (int i = 0; i < run_in_flight; ++i) values[i] = open.values_of(list[first + i].token);
#pragma unroll
      for (int i = 0; i < run_in_flight; ++i) open.add(values[i]);
      first += run_in_flight;
      continue;
    }
    PackedFour<T> values[matches_in_flight] = {};
    PackedFour<float> stored[matches_in_flight] = {};
#pragma unroll
    for (int i = 0; i < matches_in_flight; ++i) {
      const int match = first + i;
      if (match < length) {
        values[i] = open.values_of(list[match].token);
        if (match == 0 || list[match].row != list[match - 1].row) stored[i] = open.sums_of(list[match].row);
      }
    }
#pragma unroll
    for (int i = 0; i < matches_in_flight; ++i) {
      const int match = first + i;
      if (match < length) {
        if (list[match].row != open.row) open.open(list[match].row, stored[i]);
        open.add(values[i]);
      }
    }
    first += matches_in_flight;
  }
  open.close();
}

/// The arguments of add_token_rows. Row v of the table belongs to block v % groups (a power of two): frequent tokens
/// have small numbers in most vocabularies, so they are spread over the blocks.
template <typename T>
struct TokenGradient {
  const std::int32_t* tokens;
  std::int32_t count;
  const T* dout;
  std::int64_t first_token;
  float* dweight;
  std::int64_t rows_here;
  std::int64_t channels;
  std::int64_t groups;
};

/// Sorts a list by rows; matches of one row stay in order. All threads of the block call it.
__device__ inline void sort_by_rows(const Match* list, int length, Match* sorted) {
  __syncthreads();
  for (int match = static_cast<int>(threadIdx.x); match < length; match += static_cast<int>(blockDim.x)) {
    const std::int32_t row = list[match].row;
    int before = 0;
    for (int other = 0; other < length; ++other)
      before += list[other].row < row || (list[other].row == row && other < match) ? 1 : 0;
    sorted[before] = list[match];
  }
  __syncthreads();
}

template <typename T, bool aligned>
__global__ void __launch_bounds__(most_warps* warp_threads) add_token_rows(const TokenGradient<T> gradient) {
  __shared__ Match list[list_length], sorted[list_length];
  __shared__ int counts[2][most_warps];
  const int warps = static_cast<int>(blockDim.x) / warp_threads, warp = warp_of_thread(), lane = lane_of_thread();
  int length = 0;
  const auto add_list = [&] {
    sort_by_rows(list, length, sorted);
    for (std::int64_t c = warp * channels_of_a_warp + lane * channels_of_a_lane;
         c - lane * channels_of_a_lane < gradient.channels; c += warps * channels_of_a_warp)
      add_matches(
          sorted, length,
          OpenRow<T, aligned>{gradient.dout + c, gradient.dweight + c, gradient.channels, gradient.channels - c});
    length = 0;
  };
  int place = 0;
  for (std::int64_t first = 0; first < gradient.count; first += warps * tokens_of_a_warp, place = 1 - place) {
    const std::int64_t of_lane = first + warp * tokens_of_a_warp + lane;
    std::int64_t rows[tokens_of_a_lane];
    unsigned found[tokens_of_a_lane];
#pragma unroll
    for (int i = 0; i < tokens_of_a_lane; ++i) {
      const std::int64_t n = of_lane + i * warp_threads;
      rows[i] = n < gradient.count ? gradient.tokens[n] - gradient.first_token : -1;
    }
    int of_warp = 0;
#pragma unroll
    for (int i = 0; i < tokens_of_a_lane; ++i) {
      const bool mine = rows[i] >= 0 && rows[i] < gradient.rows_here && (rows[i] & (gradient.groups - 1)) == blockIdx.x;
      found[i] = __ballot_sync(every_lane, mine);
      of_warp += __popc(found[i]);
    }
    if (lane == 0) counts[place][warp] = of_warp;
    __syncthreads();
    int at = length;
    for (int other = 0; other < warps; ++other) {
      if (other < warp) at += counts[place][other];
      length += counts[place][other];
    }
#pragma unroll
    for (int i = 0; i < tokens_of_a_lane; ++i) {
      if (found[i] >> lane & 1U)
        list[at + __popc(found[i] & ((1U << lane) - 1))] = {static_cast<std::int32_t>(of_lane + i * warp_threads),
                                                            static_cast<std::int32_t>(rows[i])};
      at += __popc(found[i]);
    }
    if (length >= worth_adding) add_list();  // all threads of the block have the same count
  }
  add_list();
}

/// Each thread handles 8 channels of one row.
template <typename T>
__global__ void add_positions(const T* token, const float* weight, T* out, std::int64_t rows, std::int64_t channels,
                              DropoutSite dropout, TokenRows tokens, bool aligned) {
  const PlaceInRow place = place_of_thread(parts_of(channels, eight));
  const std::int64_t r = place.row, block = place.block, c = block * eight;
  if (r >= rows) return;
  const std::int64_t position = position_of_row(tokens, r);
  float factors[eight];
  dropout_factors(dropout, dropout.active() ? sample_of_row(tokens, r) : 0, position, block, factors);
  Eight values = load_eight(token + r * channels + c, channels - c, aligned);
  const Eight weights = load_eight(weight + position * channels + c, channels - c, aligned);
#pragma unroll
  for (int i = 0; i < eight; ++i) values[i] = (values[i] + weights[i]) * factors[i];
  store_eight(out + r * channels + c, values, channels - c, aligned);
}

/// Each thread handles 8 channels of all rows at one position, row after row; some are being loaded while one is added.
template <typename T>
__global__ void add_position_rows(const T* dout, T* dtoken, float* dweight, std::int64_t rows, std::int64_t channels,
                                  DropoutSite dropout, TokenRows tokens, bool aligned) {
  constexpr int rows_in_flight = 8;
  const PlaceInRow place = place_of_thread(parts_of(channels, eight));
  const std::int64_t position = place.row, block = place.block, c = block * eight, left = channels - c;
  if (position >= tokens.sequence) return;
  const std::int64_t first = (position - tokens.first_row % tokens.sequence + tokens.sequence) % tokens.sequence;
  if (first >= rows) return;  // no row is at this position
  const bool changes = dropout.active() || dtoken != dout;
  float* to = dweight + position * channels + c;
  Eight sums = load_eight(to, left, aligned);
  for (std::int64_t next = first; next < rows; next += rows_in_flight * tokens.sequence) {
    PackedEight<T> loaded[rows_in_flight];
#pragma unroll
    for (int i = 0; i < rows_in_flight; ++i) {
      const std::int64_t r = next + i * tokens.sequence;
      if (r >= rows) break;
      loaded[i] =
          aligned ? load_packed_aligned(dout + r * channels + c) : load_packed_singly(dout + r * channels + c, left);
    }
#pragma unroll
    for (int i = 0; i < rows_in_flight; ++i) {
      const std::int64_t r = next + i * tokens.sequence;
      if (r >= rows) break;
      float factors[eight];
      dropout_factors(dropout, dropout.active() ? sample_of_row(tokens, r) : 0, position, block, factors);
      Eight values = unpack(loaded[i]);
#pragma unroll
      for (int k = 0; k < eight; ++k) {
        values[k] = __fmul_rn(values[k], factors[k]);
        sums[k] +=
            rounded<T>(values[k]);  // adds the value stored in dtoken: the product is not fused with the addition
      }
      if (changes) store_eight(dtoken + r * channels + c, values, left, aligned);
    }
  }
  store_eight(to, sums, left, aligned);
}

}  // namespace

void embedding(Queue& queue, const Embedding& arguments) {
  const std::int64_t channels = arguments.weight.shape()[1];
  const std::int64_t count = arguments.tokens.elements();
  ensure(arguments.out.type() == arguments.weight.type(), "embedding: out and weight differ in type");
  if (count * channels == 0) return;
  const bool aligned = rows_are_aligned(channels, eight, {arguments.weight.raw(), arguments.out.raw()});
  with_device_type(arguments.weight.type(), [&]<typename T>(T) {
    copy_token_rows<<<grid_of(count * parts_of(channels, eight)), block_threads, 0, stream_of(queue)>>>(
        arguments.tokens.data<std::int32_t>(), count, device_data<const T>(arguments.weight), arguments.first_token,
        arguments.weight.shape()[0], device_data<T>(arguments.out), channels, aligned);
    check_launch();
  });
}

void embedding_gradient(Queue& queue, const EmbeddingGradient& arguments) {
  const std::int64_t channels = arguments.dweight.shape()[1];
  const std::int64_t rows_here = arguments.dweight.shape()[0];
  const std::int64_t count = arguments.tokens.elements();
  if (!arguments.accumulate) zero(queue, arguments.dweight);
  if (count * channels * rows_here == 0) return;
  ensure(std::max(count, rows_here) < std::int64_t{1} << 31, "embedding_gradient: more than 2^31 tokens");
  const std::int64_t slices = parts_of(channels, channels_of_a_warp);
  const std::int64_t warps = std::clamp<std::int64_t>(slices, fewest_warps, most_warps);
  const std::int64_t wanted_groups = std::clamp<std::int64_t>(wanted_warps / warps, 1, rows_here);
  const auto groups = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(wanted_groups)));
  with_device_type(arguments.dout.type(), [&]<typename T>(T) {
    const TokenGradient<T> gradient{.tokens = arguments.tokens.data<std::int32_t>(),
                                    .count = static_cast<std::int32_t>(count),
                                    .dout = device_data<T>(arguments.dout),
                                    .first_token = arguments.first_token,
                                    .dweight = arguments.dweight.data<float>(),
                                    .rows_here = rows_here,
                                    .channels = channels,
                                    .groups = groups};
    const bool aligned =
        rows_are_aligned(channels, channels_of_a_lane, {arguments.dout.raw(), arguments.dweight.raw()});
    const auto kernel = aligned ? add_token_rows<T, true> : add_token_rows<T, false>;
    kernel<<<grid_of(groups, 1), static_cast<unsigned>(warps) * warp_threads, 0, stream_of(queue)>>>(gradient);
    check_launch();
  });
}

void position_embedding(Queue& queue, const PositionEmbedding& arguments) {
  const std::int64_t rows = arguments.token.shape()[0];
  const std::int64_t channels = arguments.weight.shape()[1];
  ensure(arguments.out.type() == arguments.token.type(), "position_embedding: out and token differ in type");
  if (rows * channels == 0) return;
  const bool aligned =
      rows_are_aligned(channels, eight, {arguments.token.raw(), arguments.weight.raw(), arguments.out.raw()});
  with_device_type(arguments.token.type(), [&]<typename T>(T) {
    add_positions<<<grid_of(rows * parts_of(channels, eight)), block_threads, 0, stream_of(queue)>>>(
        device_data<const T>(arguments.token), arguments.weight.data<float>(), device_data<T>(arguments.out), rows,
        channels, DropoutSite(arguments.dropout), arguments.rows, aligned);
    check_launch();
  });
}

void position_embedding_gradient(Queue& queue, const PositionEmbeddingGradient& arguments) {
  const std::int64_t rows = arguments.dout.shape()[0];
  const std::int64_t channels = arguments.dweight.shape()[1];
  ensure(arguments.dtoken.type() == arguments.dout.type(),
         "position_embedding_gradient: dtoken and dout differ in type");
  if (!arguments.accumulate) zero(queue, arguments.dweight);
  if (rows * channels == 0) return;
  const bool aligned =
      rows_are_aligned(channels, eight, {arguments.dout.raw(), arguments.dtoken.raw(), arguments.dweight.raw()});
  with_device_type(arguments.dout.type(), [&]<typename T>(T) {
    const std::int64_t threads = arguments.rows.sequence * parts_of(channels, eight);
    add_position_rows<<<grid_of(threads), block_threads, 0, stream_of(queue)>>>(
        device_data<const T>(arguments.dout), device_data<T>(arguments.dtoken), arguments.dweight.data<float>(), rows,
        channels, DropoutSite(arguments.dropout), arguments.rows, aligned);
    check_launch();
  });
}

}  // namespace penstock::ops
