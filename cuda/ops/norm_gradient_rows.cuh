// SPDX-License-Identifier: Apache-2.0
#pragma once
// The gradients of LayerNorm and RMSNorm.

#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "ops/column_sums.hpp"
#include "ops/rms_norm.hpp"
#include "ops/row_layout.cuh"

namespace penstock::ops {

/// Of the kernels that give each row one warp.
inline constexpr int rows_of_a_block = 8;
inline constexpr int threads_of_a_gradient_block = rows_of_a_block * warp_threads;

/// Sums over rows in a norm's gradient, for each channel: of dweight, and LayerNorm's of dbias.
template <NormKind kind>
inline constexpr int column_sums_of = kind == NormKind::layer ? 2 : 1;

/// The tensors of a norm's gradient in a kernel.
template <typename T, typename Gradient, NormKind kind>
struct NormGradient {
  const Gradient* dy;
  const T* x;
  const float* weight;
  const float* mean;  ///< null in RMSNorm
  const float* rstd;
  const T* residual_gradient;  ///< or null
  T* dx;
  std::int64_t rows;
  std::int64_t channels;
  bool aligned;

  template <typename Arguments>
  explicit NormGradient(const Arguments& arguments)
      : dy(device_data<Gradient>(arguments.dy)),
        x(device_data<T>(arguments.x)),
        weight(device_data<float>(arguments.weight)),
        mean(mean_of(arguments)),
        rstd(device_data<float>(arguments.rstd)),
        residual_gradient(device_data<T>(arguments.residual_gradient)),
        dx(device_data<T>(arguments.dx)),
        rows(arguments.x.shape()[0]),
        channels(arguments.x.shape()[1]),
        aligned(rows_are_aligned(channels, eight, {dy, x, weight, residual_gradient, dx})) {}

 private:
  static const float* mean_of(const LayerNormGradient& arguments) { return arguments.mean.data<float>(); }
  static const float* mean_of(const RmsNormGradient&) { return nullptr; }
};

// dweight and dbias are sums over all rows, dx needs sums over all channels: one pass does both. The grid has a fixed
// number of blocks. In a block each group of warps (a RowLayout) works on whole rows, and its threads keep the sums of
// their channels over these rows in registers. The next row is loaded to shared memory while the present one is
// processed; a thread reads only what it has loaded itself, so it waits for no other thread's loads. At the end the
// groups' sums are added in order, then the blocks' sums in a kernel of their own. Rows are walked from the last to the
// first: the end of what the product before wrote is still in the L2 cache, and the next product begins with what is
// written last.

/// Rows that a block works on at once. One if a row has several warps, so that the block's barrier is the row's.
template <typename Layout>
inline constexpr int groups_of_a_block = Layout::warps > 1 ? 1 : rows_of_a_block;

template <typename Layout>
inline constexpr int threads_of_block = groups_of_a_block<Layout>* Layout::threads;

/// Blocks that a multiprocessor has at once: as many as fit into its registers.
template <typename Layout>
inline constexpr int blocks_at_once = (Layout::vectors <= 3 ? 512 : 256) / threads_of_block<Layout>;

/// The number of blocks on every card, so that the order of the sums is a function of the shape: as many as an H100 or
/// H200 runs at once.
template <typename Layout>
inline constexpr std::int64_t most_blocks = 132 * blocks_at_once<Layout>;

/// The data of one row that a group of threads reads.
template <typename T, typename Gradient, typename Layout>
struct StagedRow {
  PackedEight<Gradient> dy[Layout::vectors][Layout::threads];
  PackedEight<T> x[Layout::vectors][Layout::threads];
  PackedEight<T> residual_gradient[Layout::vectors][Layout::threads];
};

/// Shared memory of a block: some rows for each group of threads; at the end, the groups' sums [groups, column sums,
/// channels].
template <typename T, typename Gradient, NormKind kind, typename Layout>
struct BlockMemory {
  static constexpr int groups = groups_of_a_block<Layout>;
  using Row = StagedRow<T, Gradient, Layout>;
  static constexpr int stages = 2;  // the present row, and the next one being loaded
  union {
    Row rows[groups][stages];
    float sums[groups][column_sums_of<kind>][Layout::most_channels];
  };
};

/// Begins to load the thread's part of a row; it is there after a wait for the row's commit.
template <typename Layout, typename T>
__device__ void fetch_row(const T* row, int channels, bool aligned,
                          PackedEight<T> (&to)[Layout::vectors][Layout::threads]) {
#pragma unroll
  for (int v = 0; v < Layout::vectors; ++v) {
    const int c = Layout::channel(v);
    if (c >= channels) continue;
    PackedEight<T>& near = to[v][Layout::thread()];
    if (aligned) {
#pragma unroll
      for (int i = 0; i < PackedEight<T>::parts; ++i)
        __pipeline_memcpy_async(&near.words[i], reinterpret_cast<const uint4*>(row + c) + i, sizeof(uint4));
    } else {
      near = load_packed_singly(row + c, channels - c);
    }
  }
}

/// Sums over the threads of a row, for all of them, in the order of its warps. `of_warps` may be used again only after
/// another sum in other memory.
template <NormKind kind, typename Layout>
__device__ float2 sums_of_row(float2 own, float2 (&of_warps)[Layout::warps]) {
  own = make_float2(kind == NormKind::layer ? warp_sum(own.x) : 0.0F, warp_sum(own.y));
  if constexpr (Layout::warps > 1) {
    if (lane_of_thread() == 0) of_warps[warp_of_thread()] = own;
    __syncthreads();
    own = make_float2(0, 0);
#pragma unroll
    for (int warp = 0; warp < Layout::warps; ++warp) {
      const float2 other = of_warps[warp];
      own = make_float2(own.x + other.x, own.y + other.y);
    }
  }
  return own;
}

/// x_hat: a number of the row without the mean, in units of the deviation.
template <NormKind kind>
__device__ float scaled(float x, float mean, float rstd) {
  if constexpr (kind == NormKind::layer)
    return (x - mean) * rstd;
  else
    return x * rstd;
}

/// A thread's sums over its group's rows.
template <typename Layout>
struct ColumnSums {
  Eight dweight[Layout::vectors] = {};
  Eight dbias[Layout::vectors] = {};  ///< not used in RMSNorm
};

/// dx = residual gradient + rstd * (g - mean of g - x_hat * mean of g x_hat), g = dy * weight, for one loaded row; its
/// share of dweight and dbias is added to `columns`. RMSNorm has no means of x and g.
template <typename T, typename Gradient, NormKind kind, typename Layout>
__device__ void work_on_row(const NormGradient<T, Gradient, kind>& gradient, const StagedRow<T, Gradient, Layout>& row,
                            std::int64_t r, float mean, float rstd, const Eight (&weight)[Layout::vectors],
                            ColumnSums<Layout>& columns, float2 (&of_warps)[Layout::warps]) {
  const int channels = static_cast<int>(gradient.channels), thread = Layout::thread();
  float2 sums = make_float2(0, 0);
#pragma unroll
  for (int v = 0; v < Layout::vectors; ++v) {
    if (Layout::channel(v) >= channels) continue;
    const Eight dy = unpack(row.dy[v][thread]), x = unpack(row.x[v][thread]);
#pragma unroll
    for (int i = 0; i < eight; ++i) {  // after the last channel dy is zero
      const float x_hat = scaled<kind>(x[i], mean, rstd), g = dy[i] * weight[v][i];
      sums.y = fmaf(g, x_hat, sums.y);
      columns.dweight[v][i] = fmaf(dy[i], x_hat, columns.dweight[v][i]);
      if constexpr (kind == NormKind::layer) {
        sums.x += g;
        columns.dbias[v][i] += dy[i];
      }
    }
  }
  sums = sums_of_row<kind, Layout>(sums, of_warps);
  const float mean_g = sums.x / static_cast<float>(channels), mean_g_x_hat = sums.y / static_cast<float>(channels);
#pragma unroll
  for (int v = 0; v < Layout::vectors; ++v) {
    const int c = Layout::channel(v);
    if (c >= channels) continue;
    Eight dx = unpack(row.dy[v][thread]);
    const Eight x = unpack(row.x[v][thread]);
    const Eight residual = gradient.residual_gradient ? unpack(row.residual_gradient[v][thread]) : Eight{};
#pragma unroll
    for (int i = 0; i < eight; ++i) {
      const float x_hat = scaled<kind>(x[i], mean, rstd), g = dx[i] * weight[v][i];
      dx[i] = fmaf(fmaf(-x_hat, mean_g_x_hat, kind == NormKind::layer ? g - mean_g : g), rstd, residual[i]);
    }
    store_eight(gradient.dx + r * channels + c, dx, channels - c, gradient.aligned);
  }
}

/// sums [blocks, column sums, C]: each block's part of dweight and dbias.
template <typename T, typename Gradient, NormKind kind, typename Layout>
__global__ void __launch_bounds__(threads_of_block<Layout>, blocks_at_once<Layout>)
    gradient_of_rows(const NormGradient<T, Gradient, kind> gradient, float* sums) {
  using Memory = BlockMemory<T, Gradient, kind, Layout>;
  extern __shared__ uint4 block_memory[];
  auto& memory = *reinterpret_cast<Memory*>(block_memory);
  constexpr int stages = Memory::stages;
  __shared__ float2 of_warps[stages][Layout::warps];
  const int channels = static_cast<int>(gradient.channels), group = Layout::row_of_block(), thread = Layout::thread();
  Eight weight[Layout::vectors] = {};
#pragma unroll
  for (int v = 0; v < Layout::vectors; ++v)
    if (const int c = Layout::channel(v); c < channels)
      weight[v] = load_eight(gradient.weight + c, channels - c, gradient.aligned);
  ColumnSums<Layout> columns;

  auto& rows = memory.rows[group];
  float mean[stages] = {}, rstd[stages] = {};
  const auto fetch = [&](std::int64_t r, int place) {
    if (r >= 0) {
      const std::int64_t at = r * channels;
      fetch_row<Layout>(gradient.dy + at, channels, gradient.aligned, rows[place].dy);
      fetch_row<Layout>(gradient.x + at, channels, gradient.aligned, rows[place].x);
      if (gradient.residual_gradient)
        fetch_row<Layout>(gradient.residual_gradient + at, channels, gradient.aligned, rows[place].residual_gradient);
      if constexpr (kind == NormKind::layer) mean[place] = gradient.mean[r];
      rstd[place] = gradient.rstd[r];
    }
    __pipeline_commit();
  };
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * Memory::groups;
  std::int64_t r = gradient.rows - 1 - (static_cast<std::int64_t>(blockIdx.x) * Memory::groups + group);
#pragma unroll
  for (int ahead = 0; ahead < stages - 1; ++ahead) fetch(r - ahead * stride, ahead);
  while (r >= 0) {
#pragma unroll
    for (int place = 0; place < stages; ++place) {
      if (r < 0) break;
      fetch(r - (stages - 1) * stride, (place + stages - 1) % stages);
      __pipeline_wait_prior(stages - 1);
      work_on_row<T, Gradient, kind, Layout>(gradient, rows[place], r, mean[place], rstd[place], weight, columns,
                                             of_warps[place]);
      r -= stride;
    }
  }

  __syncthreads();  // no group reads its rows any longer
#pragma unroll
  for (int v = 0; v < Layout::vectors; ++v) {
    store_aligned(&memory.sums[group][0][Layout::channel(v)], columns.dweight[v]);
    if constexpr (kind == NormKind::layer) store_aligned(&memory.sums[group][1][Layout::channel(v)], columns.dbias[v]);
  }
  __syncthreads();
  constexpr int parts = column_sums_of<kind>;
  for (int column = static_cast<int>(threadIdx.x); column < parts * channels; column += threads_of_block<Layout>) {
    const int which = column < channels ? 0 : 1, c = column - which * channels;
    float sum = 0;
#pragma unroll
    for (int other = 0; other < Memory::groups; ++other) sum += memory.sums[other][which][c];
    sums[static_cast<std::int64_t>(blockIdx.x) * parts * channels + column] = sum;
  }
}

/// Calls f(RowLayout) with the layout for rows of this many channels, which determines the number of blocks. False:
/// their sums do not fit into registers.
template <typename F>
bool with_gradient_layout(std::int64_t channels, F&& f) {
  return with_first_layout<RowLayout<1, 1>, RowLayout<3, 1>, RowLayout<1, 4>, RowLayout<2, 3>, RowLayout<2, 4>,
                           RowLayout<2, 8>, RowLayout<4, 8>>(channels, std::forward<F>(f));
}

/// The number of pieces of rows, each with sums of its own; a function of the shape.
inline std::int64_t pieces_of_rows(std::int64_t rows, std::int64_t channels) {
  constexpr std::int64_t most_pieces_of_wide_rows = 264;
  std::int64_t pieces = std::min(most_pieces_of_wide_rows, rows);
  with_gradient_layout(channels, [&]<typename Layout>(Layout) {
    pieces = std::min(most_blocks<Layout>, parts_of(rows, groups_of_a_block<Layout>));
  });
  return pieces;
}

/// Workspace in bytes for the pieces' sums.
inline std::size_t norm_gradient_bytes(std::int64_t rows, std::int64_t channels, NormKind kind) {
  if (rows == 0 || channels == 0) return 0;
  const std::int64_t sums = kind == NormKind::layer ? column_sums_of<NormKind::layer> : column_sums_of<NormKind::rms>;
  return static_cast<std::size_t>(pieces_of_rows(rows, channels) * sums * channels) * sizeof(float);
}

/// In one pass, if rows fit and the card has the shared memory; otherwise false.
template <typename T, typename Gradient, NormKind kind>
bool launch_in_one_pass(Queue& queue, const NormGradient<T, Gradient, kind>& gradient, std::int64_t pieces,
                        float* sums) {
  int device = 0, most_bytes = 0;
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaDeviceGetAttribute(&most_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  bool fits = true;
  const bool in_registers = with_gradient_layout(gradient.channels, [&]<typename Layout>(Layout) {
    constexpr auto bytes = static_cast<int>(sizeof(BlockMemory<T, Gradient, kind, Layout>));
    constexpr int own_bytes = 1024;  // what the kernel declares itself, and more
    fits = bytes + own_bytes <= most_bytes;
    if (!fits) return;
    const auto kernel = gradient_of_rows<T, Gradient, kind, Layout>;
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    kernel<<<grid_of(pieces, 1), threads_of_block<Layout>, bytes, stream_of(queue)>>>(gradient, sums);
    check_launch();
  });
  return in_registers && fits;
}

// Wider rows are read twice: for the sums over rows, with one thread for each channel, and for dx.
inline constexpr int columns_of_a_block = 128;

template <typename T, typename Gradient, NormKind kind>
__global__ void sum_columns_of_pieces(const NormGradient<T, Gradient, kind> gradient, std::int64_t rows_of_a_piece,
                                      std::int64_t slices, float* sums) {
  const std::int64_t piece = blockIdx.x / slices, channels = gradient.channels;
  const std::int64_t c = blockIdx.x % slices * columns_of_a_block + threadIdx.x;
  if (c >= channels) return;
  const std::int64_t begin = piece * rows_of_a_piece;
  const std::int64_t end = begin + rows_of_a_piece < gradient.rows ? begin + rows_of_a_piece : gradient.rows;
  float dweight = 0, dbias = 0;
#pragma unroll 8
  for (std::int64_t r = begin; r < end; ++r) {
    const float slope = load(gradient.dy + r * channels + c);
    const float mean = kind == NormKind::layer ? gradient.mean[r] : 0.0F;
    const float x_hat = scaled<kind>(load(gradient.x + r * channels + c), mean, gradient.rstd[r]);
    dweight += slope * x_hat;
    dbias += slope;
  }
  constexpr int parts = column_sums_of<kind>;
  sums[piece * parts * channels + c] = dweight;
  if constexpr (kind == NormKind::layer) sums[(piece * parts + 1) * channels + c] = dbias;
}

/// dx = residual gradient + rstd * (g - mean of g - x_hat * mean of g x_hat), g = dy * weight. One warp one row.
template <typename T, typename Gradient, NormKind kind>
__global__ void input_gradient_of_wide_rows(const NormGradient<T, Gradient, kind> gradient) {
  const std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * rows_of_a_block + warp_of_thread();
  if (r >= gradient.rows) return;
  const std::int64_t channels = gradient.channels, at = r * channels;
  const bool aligned = gradient.aligned;
  const float mean = kind == NormKind::layer ? gradient.mean[r] : 0.0F, rstd = gradient.rstd[r];
  const std::int64_t begin = lane_of_thread() * eight;
  float sum_g = 0, sum_g_x_hat = 0;
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    const Eight dy = load_eight(gradient.dy + at + c, channels - c, aligned);
    const Eight x = load_eight(gradient.x + at + c, channels - c, aligned);
    const Eight weight = load_eight(gradient.weight + c, channels - c, aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) {  // after the last channel g is zero
      const float g = dy[i] * weight[i];
      sum_g += g;
      sum_g_x_hat += g * scaled<kind>(x[i], mean, rstd);
    }
  }
  const auto count = static_cast<float>(channels);
  const float mean_g = kind == NormKind::layer ? warp_sum(sum_g) / count : 0.0F,
              mean_g_x_hat = warp_sum(sum_g_x_hat) / count;
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    Eight dy = load_eight(gradient.dy + at + c, channels - c, aligned);
    const Eight x = load_eight(gradient.x + at + c, channels - c, aligned);
    const Eight weight = load_eight(gradient.weight + c, channels - c, aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i)
      dy[i] = (dy[i] * weight[i] - mean_g - scaled<kind>(x[i], mean, rstd) * mean_g_x_hat) * rstd;
    if (gradient.residual_gradient) {
      const Eight residual = load_eight(gradient.residual_gradient + at + c, channels - c, aligned);
#pragma unroll
      for (int i = 0; i < eight; ++i) dy[i] += residual[i];
    }
    store_eight(gradient.dx + at + c, dy, channels - c, aligned);
  }
}

template <typename T, typename Gradient, NormKind kind>
void launch_in_two_passes(Queue& queue, const NormGradient<T, Gradient, kind>& gradient, std::int64_t pieces,
                          float* sums) {
  const std::int64_t slices = parts_of(gradient.channels, columns_of_a_block);
  // The columns come first: dx may overwrite what they read.
  sum_columns_of_pieces<<<grid_of(pieces * slices, 1), columns_of_a_block, 0, stream_of(queue)>>>(
      gradient, parts_of(gradient.rows, pieces), slices, sums);
  check_launch();
  input_gradient_of_wide_rows<<<grid_of(gradient.rows, rows_of_a_block), threads_of_a_gradient_block, 0,
                                stream_of(queue)>>>(gradient);
  check_launch();
}

/// Enqueues a norm's gradient; dbias is null in RMSNorm. The workspace has norm_gradient_bytes.
template <typename T, typename Gradient, NormKind kind>
void launch_norm_gradient(Queue& queue, const NormGradient<T, Gradient, kind>& gradient, float* dweight, float* dbias,
                          bool accumulate) {
  const std::int64_t channels = gradient.channels, pieces = pieces_of_rows(gradient.rows, channels);
  auto* sums = reinterpret_cast<float*>(queue.workspace(norm_gradient_bytes(gradient.rows, channels, kind)));
  if (!launch_in_one_pass(queue, gradient, pieces, sums)) launch_in_two_passes(queue, gradient, pieces, sums);
  add_sums_of_pieces(queue, sums, pieces, {dweight, channels}, {dbias, dbias ? channels : 0}, accumulate);
}

/// Calls f(T, Gradient): the types of a stream and of the gradient that comes in.
template <typename F>
void with_gradient_types(DType stream, DType slope, F&& f) {
  ensure(slope == stream || slope == DType::float32, "a norm's gradient: dy is of the stream's type or float32");
  with_device_type(stream, [&]<typename T>(T of_stream) {
    if (slope == stream)
      f(of_stream, T{});
    else
      f(__nv_bfloat16{}, float{});
  });
}

}  // namespace penstock::ops
