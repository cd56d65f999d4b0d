// SPDX-License-Identifier: Apache-2.0
#pragma once
// LayerNorm and RMSNorm of rows, and of the sum of the residual stream and a branch.

#include <type_traits>

#include "ops/dropout.cuh"
#include "ops/rms_norm.hpp"
#include "ops/row_layout.cuh"

namespace penstock::ops {

// A row is read once: it stays in the registers of its warp, or of its block's four warps if it is wide. A warp has
// several short rows at once, so that enough loads are in flight and one read of weights serves them all. Rows are
// walked from the last to the first: the end of what the operation before wrote is still in the L2 cache, and the next
// product begins with what is written last.
inline constexpr int warps_of_a_block = 4;
inline constexpr int threads_of_a_block = warps_of_a_block * warp_threads;

/// Rows that a warp has at once, if a thread holds this many bytes of one.
constexpr int rows_at_once(int bytes) { return bytes <= 64 ? 4 : bytes <= 128 ? 2 : 1; }

/// with_first_layout for the layouts of a forward pass; false: such rows do not fit into registers.
template <typename F>
bool with_row_layout(std::int64_t channels, F&& f) {
  return with_first_layout<RowLayout<1, 1>, RowLayout<3, 1>, RowLayout<4, 1>, RowLayout<7, 1>, RowLayout<8, 1>,
                           RowLayout<4, warps_of_a_block>, RowLayout<8, warps_of_a_block>>(channels,
                                                                                           std::forward<F>(f));
}

template <typename Layout>
__device__ float sum_of_row(float value) {
  static_assert(Layout::warps == 1 || Layout::warps == warps_of_a_block);
  if constexpr (Layout::warps == 1)
    return warp_sum(value);
  else
    return block_sum(value);
}

/// A norm's tensors in a kernel.
template <typename T, NormKind kind>
struct Norm {
  const T* x;
  const float* weight;
  const float* bias;  ///< null in RMSNorm
  T* y;
  float* mean;  ///< null in RMSNorm
  float* rstd;
  float epsilon;
  std::int64_t rows;
  std::int64_t channels;
  bool aligned;

  Norm(const LayerNorm& norm, const TensorView& of)
      : x(device_data<T>(of)),
        weight(norm.weight.data<float>()),
        bias(norm.bias.data<float>()),
        y(device_data<T>(norm.y)),
        mean(norm.mean.data<float>()),
        rstd(norm.rstd.data<float>()),
        epsilon(layer_norm_epsilon),
        rows(of.shape()[0]),
        channels(of.shape()[1]),
        aligned(rows_are_aligned(channels, eight, {x, weight, bias, y})) {
    static_assert(kind == NormKind::layer);
  }
  Norm(const RmsNorm& norm, const TensorView& of)
      : x(device_data<T>(of)),
        weight(norm.weight.data<float>()),
        bias(nullptr),
        y(device_data<T>(norm.y)),
        mean(nullptr),
        rstd(norm.rstd.data<float>()),
        epsilon(norm.epsilon),
        rows(of.shape()[0]),
        channels(of.shape()[1]),
        aligned(rows_are_aligned(channels, eight, {x, weight, y})) {
    static_assert(kind == NormKind::rms);
  }
};

__device__ inline float reciprocal_deviation(float squares, float count, float epsilon) {
  return 1.0F / sqrtf(squares / count + epsilon);
}
template <typename T, NormKind kind>
__device__ float normalized(float x, float mean, float rstd, float weight, float bias) {
  if constexpr (kind == NormKind::layer)
    return fmaf((x - mean) * rstd, weight, bias);
  else
    return rounded<T>(x * rstd) * weight;
}

/// The sum of (x - mean)^2 over the first `count` of eight channels, added to `squares`.
__device__ inline float add_squares(const Eight& x, float mean, int count, float squares) {
#pragma unroll
  for (int i = 0; i < eight; ++i) {
    const float centred = x[i] - mean;
    if (i < count) squares = fmaf(centred, centred, squares);
  }
  return squares;
}

/// Rows first, first - 1, ...; x holds the thread's channels of them. Rows before row 0 do not exist.
template <typename Layout, typename T, NormKind kind, int row_count>
__device__ void normalize_rows_at_hand(const Norm<T, kind>& norm, const PackedEight<T> (&x)[row_count][Layout::vectors],
                                       std::int64_t first) {
  const int channels = static_cast<int>(norm.channels);
  const auto count = static_cast<float>(channels);
  float mean[row_count] = {}, rstd[row_count];
  if constexpr (kind == NormKind::layer) {
#pragma unroll
    for (int row = 0; row < row_count; ++row) {
      float sum = 0;
#pragma unroll
      for (int v = 0; v < Layout::vectors; ++v) {
        const Eight values = unpack(x[row][v]);
#pragma unroll
        for (int i = 0; i < eight; ++i) sum += values[i];
      }
      mean[row] = sum;
    }
#pragma unroll
    for (int row = 0; row < row_count; ++row) mean[row] = sum_of_row<Layout>(mean[row]) / count;
  }
#pragma unroll
  for (int row = 0; row < row_count; ++row) {
    float squares = 0;
#pragma unroll
    for (int v = 0; v < Layout::vectors; ++v) {
      const int left = channels - Layout::channel(v);
      if (left >= eight)
        squares = add_squares(unpack(x[row][v]), mean[row], eight, squares);
      else if (left > 0)
        squares = add_squares(unpack(x[row][v]), mean[row], left, squares);
    }
    rstd[row] = squares;
  }
#pragma unroll
  for (int row = 0; row < row_count; ++row)
    rstd[row] = reciprocal_deviation(sum_of_row<Layout>(rstd[row]), count, norm.epsilon);
#pragma unroll
  for (int v = 0; v < Layout::vectors; ++v) {
    const int c = Layout::channel(v), left = channels - c;
    if (left <= 0) continue;
    const Eight weight = load_eight(norm.weight + c, left, norm.aligned);
    const Eight bias = kind == NormKind::layer ? load_eight(norm.bias + c, left, norm.aligned) : Eight{};
#pragma unroll
    for (int row = 0; row < row_count; ++row) {
      if (first < row) continue;
      Eight values = unpack(x[row][v]);
#pragma unroll
      for (int i = 0; i < eight; ++i)
        values[i] = normalized<T, kind>(values[i], mean[row], rstd[row], weight[i], bias[i]);
      store_eight(norm.y + (first - row) * channels + c, values, left, norm.aligned);
    }
  }
  if (Layout::thread() != 0) return;
#pragma unroll
  for (int row = 0; row < row_count; ++row) {
    if (first < row) continue;
    if constexpr (kind == NormKind::layer) norm.mean[first - row] = mean[row];
    norm.rstd[first - row] = rstd[row];
  }
}

/// The first of the thread's rows, if each group of threads has `row_count`.
template <typename Layout>
__device__ std::int64_t first_row(std::int64_t rows, int row_count) {
  constexpr int groups = warps_of_a_block / Layout::warps;
  return rows - 1 - (static_cast<std::int64_t>(blockIdx.x) * groups + Layout::row_of_block()) * row_count;
}

template <typename Layout>
unsigned grid_of_rows(std::int64_t rows, int row_count) {
  return grid_of(rows, static_cast<std::int64_t>(warps_of_a_block / Layout::warps) * row_count);
}

template <typename T, NormKind kind, typename Layout, int row_count>
__global__ void __launch_bounds__(threads_of_a_block) normalize_rows(const Norm<T, kind> norm) {
  const std::int64_t first = first_row<Layout>(norm.rows, row_count);
  if (first < 0) return;  // all threads of the row
  PackedEight<T> x[row_count][Layout::vectors];
#pragma unroll
  for (int row = 0; row < row_count; ++row)  // a row that does not exist is row 0 once more
    load_row<Layout>(norm.x + (first < row ? 0 : first - row) * norm.channels, static_cast<int>(norm.channels),
                     norm.aligned, x[row]);
  normalize_rows_at_hand<Layout>(norm, x, first);
}

// Rows that do not fit into registers: a warp reads its row from the caches again.
__device__ inline std::int64_t row_of_warp() {
  return static_cast<std::int64_t>(blockIdx.x) * warps_of_a_block + warp_of_thread();
}

template <typename T, NormKind kind>
__device__ void normalize_wide_row(const Norm<T, kind>& norm, std::int64_t r) {
  const std::int64_t channels = norm.channels;
  const auto count = static_cast<float>(channels);
  const T* x = norm.x + r * channels;
  const std::int64_t begin = lane_of_thread() * eight;
  float mean = 0;
  if constexpr (kind == NormKind::layer) {
    float sum = 0;
    for (std::int64_t c = begin; c < channels; c += channels_at_once) {
      const Eight values = load_eight(x + c, channels - c, norm.aligned);
#pragma unroll
      for (int i = 0; i < eight; ++i) sum += values[i];
    }
    mean = warp_sum(sum) / count;
  }
  float squares = 0;
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    const int left = channels - c < eight ? static_cast<int>(channels - c) : eight;
    squares = add_squares(load_eight(x + c, channels - c, norm.aligned), mean, left, squares);
  }
  const float rstd = reciprocal_deviation(warp_sum(squares), count, norm.epsilon);
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    Eight values = load_eight(x + c, channels - c, norm.aligned);
    const Eight weight = load_eight(norm.weight + c, channels - c, norm.aligned);
    const Eight bias = kind == NormKind::layer ? load_eight(norm.bias + c, channels - c, norm.aligned) : Eight{};
#pragma unroll
    for (int i = 0; i < eight; ++i) values[i] = normalized<T, kind>(values[i], mean, rstd, weight[i], bias[i]);
    store_eight(norm.y + r * channels + c, values, channels - c, norm.aligned);
  }
  if (lane_of_thread() == 0) {
    if constexpr (kind == NormKind::layer) norm.mean[r] = mean;
    norm.rstd[r] = rstd;
  }
}

template <typename T, NormKind kind>
__global__ void __launch_bounds__(threads_of_a_block) normalize_wide_rows(const Norm<T, kind> norm) {
  const std::int64_t r = row_of_warp();
  if (r < norm.rows) normalize_wide_row(norm, r);
}

/// Residual's tensors in a kernel.
template <typename T, typename Branch>
struct Join {
  const T* residual;  ///< or null
  const Branch* branch;
  const float* bias;  ///< or null
  T* out;
  std::int64_t rows;
  std::int64_t channels;
  DropoutSite dropout;
  TokenRows tokens;
  bool aligned;

  explicit Join(const Residual& arguments)
      : residual(device_data<T>(arguments.residual)),
        branch(device_data<Branch>(arguments.branch)),
        bias(device_data<float>(arguments.bias)),
        out(device_data<T>(arguments.out)),
        rows(arguments.out.shape()[0]),
        channels(arguments.out.shape()[1]),
        dropout(arguments.dropout),
        tokens(arguments.rows),
        aligned(rows_are_aligned(channels, eight, {residual, branch, bias, out})) {}
};

/// A row's place in the dropout masks; without dropout nothing is looked up.
struct MaskRow {
  std::uint64_t sample = 0;
  std::int64_t position = 0;

  MaskRow() = default;
  __device__ MaskRow(const DropoutSite& dropout, const TokenRows& tokens, std::int64_t r) {
    if (!dropout.active()) return;
    sample = sample_of_row(tokens, r);
    position = position_of_row(tokens, r);
  }
};

/// Adds the bias and a residual, if present, to channels [8 * block, 8 * block + 8) of a row's branch. Sums of products
/// use explicit fused operations, so that every kernel here has the same bits.
template <typename T, typename Branch>
__device__ Eight joined(const Join<T, Branch>& join, const DropoutSite& dropout, const MaskRow& row, std::int64_t block,
                        Eight branch, const Eight& bias, const Eight& residual) {
#pragma unroll
  for (int i = 0; i < eight; ++i) branch[i] += bias[i];
  float factors[eight];
  dropout_factors(dropout, row.sample, row.position, block, factors);
#pragma unroll
  for (int i = 0; i < eight; ++i)
    branch[i] = join.residual ? fmaf(branch[i], factors[i], residual[i]) : branch[i] * factors[i];
  return branch;
}

template <typename T, typename Branch>
__device__ Eight bias_of(const Join<T, Branch>& join, std::int64_t c) {
  return join.bias ? load_eight(join.bias + c, join.channels - c, join.aligned) : Eight{};
}

/// out for 8 channels of row r.
template <typename T, typename Branch>
__device__ void join_eight(const Join<T, Branch>& join, std::int64_t r, const MaskRow& row, std::int64_t block) {
  const std::int64_t c = block * eight, left = join.channels - c, at = r * join.channels + c;
  const Eight branch = load_eight(join.branch + at, left, join.aligned);
  const Eight residual = join.residual ? load_eight(join.residual + at, left, join.aligned) : Eight{};
  store_eight(join.out + at, joined(join, join.dropout, row, block, branch, bias_of(join, c), residual), left,
              join.aligned);
}

/// Normalizes the sum as stored, rounded to the stream's type. `with_dropout`: a compile-time copy of dropout.active(),
/// because the masks take many registers.
template <typename T, typename Branch, NormKind kind, typename Layout, int row_count, bool with_dropout>
__global__ void __launch_bounds__(threads_of_a_block)
    join_and_normalize_rows(const Join<T, Branch> join, const Norm<T, kind> norm) {
  const std::int64_t first = first_row<Layout>(join.rows, row_count);
  if (first < 0) return;  // all threads of the row
  const int channels = static_cast<int>(join.channels);
  const DropoutSite dropout = with_dropout ? join.dropout : DropoutSite{};
  PackedEight<T> x[row_count][Layout::vectors] = {};
  PackedEight<Branch> branch[row_count][Layout::vectors];
  MaskRow mask[row_count];
#pragma unroll
  for (int row = 0; row < row_count; ++row) {  // a row that does not exist is row 0 once more
    const std::int64_t r = first < row ? 0 : first - row;
    load_row<Layout>(join.branch + r * channels, channels, join.aligned, branch[row]);
    if (join.residual) load_row<Layout>(join.residual + r * channels, channels, join.aligned, x[row]);
    mask[row] = MaskRow(dropout, join.tokens, r);
  }
#pragma unroll
  for (int v = 0; v < Layout::vectors; ++v) {
    const int c = Layout::channel(v), left = channels - c;
    const Eight bias = left > 0 ? bias_of(join, c) : Eight{};
#pragma unroll
    for (int row = 0; row < row_count; ++row) {
      x[row][v] = pack<T>(joined(join, dropout, mask[row], c / eight, unpack(branch[row][v]), bias, unpack(x[row][v])));
      if (left > 0 && first >= row)
        store_eight(join.out + (first - row) * channels + c, unpack(x[row][v]), left, join.aligned);
    }
  }
  normalize_rows_at_hand<Layout>(norm, x, first);
}

/// Each warp handles one row. The norm reads what a lane itself has stored.
template <typename T, typename Branch, NormKind kind>
__global__ void __launch_bounds__(threads_of_a_block)
    join_and_normalize_wide_rows(const Join<T, Branch> join, const Norm<T, kind> norm) {
  const std::int64_t r = row_of_warp();
  if (r >= join.rows) return;
  const MaskRow row(join.dropout, join.tokens, r);
  const std::int64_t blocks = parts_of(join.channels, eight);
  for (std::int64_t block = lane_of_thread(); block < blocks; block += warp_threads) join_eight(join, r, row, block);
  normalize_wide_row(norm, r);
}

/// y and statistics of the rows of x.
template <typename T, NormKind kind>
void launch_norm(Queue& queue, const Norm<T, kind>& norm) {
  const bool in_registers = with_row_layout(norm.channels, [&]<typename Layout>(Layout) {
    constexpr int bytes = Layout::vectors * eight * static_cast<int>(sizeof(T));
    constexpr int row_count = Layout::warps == 1 ? rows_at_once(bytes) : 1;
    normalize_rows<T, kind, Layout, row_count>
        <<<grid_of_rows<Layout>(norm.rows, row_count), threads_of_a_block, 0, stream_of(queue)>>>(norm);
  });
  if (!in_registers)
    normalize_wide_rows<<<grid_of(norm.rows, warps_of_a_block), threads_of_a_block, 0, stream_of(queue)>>>(norm);
  check_launch();
}

/// The same for a branch that joins the stream.
template <typename T, typename Branch, NormKind kind>
void launch_residual_norm(Queue& queue, const Join<T, Branch>& join, const Norm<T, kind>& norm) {
  const bool in_registers = with_row_layout(join.channels, [&]<typename Layout>(Layout) {
    constexpr int bytes = Layout::vectors * eight * static_cast<int>(sizeof(T) + sizeof(Branch));
    constexpr int row_count = Layout::warps == 1 ? rows_at_once(bytes) : 1;
    const unsigned grid = grid_of_rows<Layout>(join.rows, row_count);
    if (join.dropout.active())
      join_and_normalize_rows<T, Branch, kind, Layout, 1, true>
          <<<grid_of_rows<Layout>(join.rows, 1), threads_of_a_block, 0, stream_of(queue)>>>(join, norm);
    else
      join_and_normalize_rows<T, Branch, kind, Layout, row_count, false>
          <<<grid, threads_of_a_block, 0, stream_of(queue)>>>(join, norm);
  });
  if (!in_registers)
    join_and_normalize_wide_rows<<<grid_of(join.rows, warps_of_a_block), threads_of_a_block, 0, stream_of(queue)>>>(
        join, norm);
  check_launch();
}

/// Calls f(T, Branch): the types of a stream and of what joins it, which may be float32 where the stream is bfloat16.
template <typename F>
void with_stream_types(DType stream, DType branch, F&& f) {
  ensure(branch == stream || branch == DType::float32, "a branch is of the stream's type or float32");
  with_device_type(stream, [&]<typename T>(T of_stream) {
    if (branch == stream)
      f(of_stream, T{});
    else
      f(__nv_bfloat16{}, float{});
  });
}

}  // namespace penstock::ops
