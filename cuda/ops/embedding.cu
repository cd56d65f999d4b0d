#include "ops/embedding.hpp"

#include <algorithm>
#include <bit>

#include "ops/dropout.cuh"
#include "ops/elementwise.hpp"
#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

/// One thread 8 channels of one token.
template <typename T>
__global__ void copy_token_rows(const std::int32_t* tokens, std::int64_t count, const T* weight,
                                std::int64_t first_token, std::int64_t rows_here, T* out, std::int64_t channels,
                                bool aligned) {
  const std::int64_t blocks = parts_of(channels, eight);
  const std::int64_t n = grid_thread() / blocks;
  if (n >= count) return;
  const std::int64_t c = grid_thread() % blocks * eight;
  const std::int64_t row = tokens[n] - first_token;
  const bool here = row >= 0 && row < rows_here;
  const Eight values = here ? load_eight(weight + row * channels + c, channels - c, aligned) : Eight{};
  store_eight(out + n * channels + c, values, channels - c, aligned);
}

// The gradient of the token table is added up without atomics: a warp owns some rows of the table and a slice of the
// channels. It looks through all tokens, lists those of its rows in their order, and adds their gradients.
constexpr int warps_of_a_block = 4;
constexpr int channels_of_a_lane = 4;
constexpr int channels_of_a_warp = channels_of_a_lane * warp_threads;
constexpr int tokens_of_a_lane = 4;
constexpr int tokens_at_once = tokens_of_a_lane * warp_threads;
constexpr int list_length = 4 * tokens_at_once;
constexpr int rows_in_flight = 16;  // loads that are under way at once, for a warp has but one chain of additions
constexpr std::int64_t wanted_warps = 8192;

/// A token whose row of the table is the warp's.
struct Match {
  std::int32_t token;
  std::int32_t row;
};

/// The neighbours of one lane.
struct Four {
  float values[channels_of_a_lane];
};

template <typename T>
__device__ Four load_four(const T* from, std::int64_t count, bool aligned) {
  Four to;
  if (aligned && count >= channels_of_a_lane) {
    if constexpr (std::is_same_v<T, float>) {
      const float4 words = *reinterpret_cast<const float4*>(from);
      to = {{words.x, words.y, words.z, words.w}};
    } else {
      const uint2 words = *reinterpret_cast<const uint2*>(from);
      to = {{__uint_as_float(words.x << 16), __uint_as_float(words.x & 0xffff0000U), __uint_as_float(words.y << 16),
             __uint_as_float(words.y & 0xffff0000U)}};
    }
    return to;
  }
#pragma unroll
  for (int i = 0; i < channels_of_a_lane; ++i) to.values[i] = i < count ? load(from + i) : 0.0F;
  return to;
}

__device__ void store_four(float* to, const Four& from, std::int64_t count, bool aligned) {
  if (aligned && count >= channels_of_a_lane) {
    *reinterpret_cast<float4*>(to) = make_float4(from.values[0], from.values[1], from.values[2], from.values[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < channels_of_a_lane; ++i)
    if (i < count) to[i] = from.values[i];
}

/// The lane's channels of the row that is being added to; they stay in registers until another row's turn comes.
struct OpenRow {
  float* dweight;  ///< row 0, at the lane's first channel
  std::int64_t channels;
  std::int64_t count;  ///< channels from the lane's first on; may be less than four, or not positive
  bool aligned;
  std::int32_t row = -1;
  Four sums{};

  __device__ void add(std::int32_t to_row, const Four& values) {
    if (to_row != row) {
      close();
      row = to_row;
      sums = load_four(dweight + row * channels, count, aligned);
    }
#pragma unroll
    for (int i = 0; i < channels_of_a_lane; ++i) sums.values[i] += values.values[i];
  }
  __device__ void close() {
    if (row >= 0) store_four(dweight + row * channels, sums, count, aligned);
  }
};

template <typename T>
__device__ void add_matches(const Match* list, int length, const T* dout, OpenRow& open) {
  for (int first = 0; first < length; first += rows_in_flight) {
    Four values[rows_in_flight];
#pragma unroll
    for (int i = 0; i < rows_in_flight; ++i)
      if (first + i < length)
        values[i] = load_four(dout + list[first + i].token * open.channels, open.count, open.aligned);
#pragma unroll
    for (int i = 0; i < rows_in_flight; ++i)
      if (first + i < length) open.add(list[first + i].row, values[i]);
  }
}

/// What add_token_rows works on. Row v of the table belongs to the warps of group v % groups (a power of two): tokens
/// that are frequent have small numbers in most vocabularies, and so they meet in no warp.
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
  std::int64_t slices;
  bool aligned;
};

template <typename T>
__global__ void add_token_rows(const TokenGradient<T> gradient) {
  __shared__ Match lists[warps_of_a_block][list_length];
  const std::int64_t worker = static_cast<std::int64_t>(blockIdx.x) * warps_of_a_block + warp_of_thread();
  if (worker >= gradient.groups * gradient.slices) return;  // the whole warp
  const std::int64_t group = worker / gradient.slices;
  const int lane = lane_of_thread();
  const std::int64_t c = worker % gradient.slices * channels_of_a_warp + lane * channels_of_a_lane;
  OpenRow open{gradient.dweight + c, gradient.channels, gradient.channels - c, gradient.aligned};
  Match* list = lists[warp_of_thread()];
  int length = 0;
  for (std::int64_t first = 0; first < gradient.count; first += tokens_at_once) {
    std::int64_t rows[tokens_of_a_lane];
#pragma unroll
    for (int i = 0; i < tokens_of_a_lane; ++i) {
      const std::int64_t n = first + i * warp_threads + lane;
      rows[i] = n < gradient.count ? gradient.tokens[n] - gradient.first_token : -1;
    }
#pragma unroll
    for (int i = 0; i < tokens_of_a_lane; ++i) {
      const bool mine = rows[i] >= 0 && rows[i] < gradient.rows_here && (rows[i] & (gradient.groups - 1)) == group;
      const unsigned found = __ballot_sync(every_lane, mine);
      if (mine)
        list[length + __popc(found & ((1U << lane) - 1))] = {static_cast<std::int32_t>(first + i * warp_threads + lane),
                                                             static_cast<std::int32_t>(rows[i])};
      length += __popc(found);
    }
    if (length > list_length - tokens_at_once) {  // what the next tokens bring might not fit
      __syncwarp();
      add_matches(list, length, gradient.dout + c, open);
      __syncwarp();
      length = 0;
    }
  }
  __syncwarp();
  add_matches(list, length, gradient.dout + c, open);
  open.close();
}

/// One thread 8 channels of one row.
template <typename T>
__global__ void add_positions(const T* token, const float* weight, T* out, std::int64_t rows, std::int64_t channels,
                              DropoutSite dropout, TokenRows tokens, bool aligned) {
  const std::int64_t blocks = parts_of(channels, eight);
  const std::int64_t r = grid_thread() / blocks;
  if (r >= rows) return;
  const std::int64_t block = grid_thread() % blocks, c = block * eight;
  const std::int64_t position = position_of_row(tokens, r);
  float factors[eight];
  dropout_factors(dropout, dropout.active() ? sample_of_row(tokens, r) : 0, position, block, factors);
  Eight values = load_eight(token + r * channels + c, channels - c, aligned);
  const Eight weights = load_eight(weight + position * channels + c, channels - c, aligned);
#pragma unroll
  for (int i = 0; i < eight; ++i) values[i] = (values[i] + weights[i]) * factors[i];
  store_eight(out + r * channels + c, values, channels - c, aligned);
}

/// One thread 8 channels of all rows at one position, row after row.
template <typename T>
__global__ void add_position_rows(const T* dout, T* dtoken, float* dweight, std::int64_t rows, std::int64_t channels,
                                  DropoutSite dropout, TokenRows tokens, bool aligned) {
  const std::int64_t blocks = parts_of(channels, eight);
  const std::int64_t position = grid_thread() / blocks;
  if (position >= tokens.sequence) return;
  const std::int64_t block = grid_thread() % blocks, c = block * eight;
  std::int64_t r = (position - tokens.first_row % tokens.sequence + tokens.sequence) % tokens.sequence;
  if (r >= rows) return;  // no row is at this position
  float* to = dweight + position * channels + c;
  Eight sums = load_eight(to, channels - c, aligned);
  for (; r < rows; r += tokens.sequence) {
    float factors[eight];
    dropout_factors(dropout, dropout.active() ? sample_of_row(tokens, r) : 0, position, block, factors);
    Eight values = load_eight(dout + r * channels + c, channels - c, aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) {
      values[i] = __fmul_rn(values[i], factors[i]);
      sums[i] += rounded<T>(values[i]);  // the sum of what dtoken holds: the product is not fused with the addition
    }
    store_eight(dtoken + r * channels + c, values, channels - c, aligned);
  }
  store_eight(to, sums, channels - c, aligned);
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
  const std::int64_t wanted_groups = std::clamp<std::int64_t>(wanted_warps / slices, 1, rows_here);
  const auto groups = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(wanted_groups)));
  with_device_type(arguments.dout.type(), [&]<typename T>(T) {
    const TokenGradient<T> gradient{
        .tokens = arguments.tokens.data<std::int32_t>(),
        .count = static_cast<std::int32_t>(count),
        .dout = device_data<T>(arguments.dout),
        .first_token = arguments.first_token,
        .dweight = arguments.dweight.data<float>(),
        .rows_here = rows_here,
        .channels = channels,
        .groups = groups,
        .slices = slices,
        .aligned = rows_are_aligned(channels, channels_of_a_lane, {arguments.dout.raw(), arguments.dweight.raw()})};
    add_token_rows<<<grid_of(groups * slices, warps_of_a_block), warps_of_a_block * warp_threads, 0,
                     stream_of(queue)>>>(gradient);
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
