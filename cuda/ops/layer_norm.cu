#include "ops/layer_norm.hpp"

#include <algorithm>

#include "ops/dropout.cuh"
#include "ops/kernel.cuh"

namespace penstock::ops {
namespace {

// A warp works on one row; a lane on 8 channels of every 256.
constexpr int rows_of_a_block = 4;
constexpr int threads_of_a_block = rows_of_a_block * warp_threads;
constexpr std::int64_t channels_at_once = eight * warp_threads;

__device__ std::int64_t row_of_warp() {
  return static_cast<std::int64_t>(blockIdx.x) * rows_of_a_block + warp_of_thread();
}

/// LayerNorm's tensors in a kernel.
template <typename T>
struct Norm {
  const T* x;
  const float* weight;
  const float* bias;
  T* y;
  float* mean;
  float* rstd;
  std::int64_t channels;
  bool aligned;

  Norm(const LayerNorm& norm, const TensorView& of)
      : x(device_data<T>(of)),
        weight(norm.weight.data<float>()),
        bias(norm.bias.data<float>()),
        y(device_data<T>(norm.y)),
        mean(norm.mean.data<float>()),
        rstd(norm.rstd.data<float>()),
        channels(of.shape()[1]),
        aligned(rows_are_aligned(channels, eight, {x, weight, bias, y})) {}
};

template <typename T>
__device__ void normalize_row(const Norm<T>& norm, std::int64_t r) {
  const std::int64_t channels = norm.channels;
  const auto count = static_cast<float>(channels);
  const T* x = norm.x + r * channels;
  const std::int64_t begin = lane_of_thread() * eight;
  float sum = 0;
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    const Eight values = load_eight(x + c, channels - c, norm.aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) sum += values[i];
  }
  const float mean = warp_sum(sum) / count;
  float squares = 0;
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    const Eight values = load_eight(x + c, channels - c, norm.aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) {
      const float centred = c + i < channels ? values[i] - mean : 0.0F;
      squares += centred * centred;
    }
  }
  const float rstd = 1.0F / sqrtf(warp_sum(squares) / count + layer_norm_epsilon);
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    Eight values = load_eight(x + c, channels - c, norm.aligned);
    const Eight weight = load_eight(norm.weight + c, channels - c, norm.aligned);
    const Eight bias = load_eight(norm.bias + c, channels - c, norm.aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) values[i] = (values[i] - mean) * rstd * weight[i] + bias[i];
    store_eight(norm.y + r * channels + c, values, channels - c, norm.aligned);
  }
  if (lane_of_thread() == 0) {
    norm.mean[r] = mean;
    norm.rstd[r] = rstd;
  }
}

template <typename T>
__global__ void normalize_rows(const Norm<T> norm, std::int64_t rows) {
  const std::int64_t r = row_of_warp();
  if (r < rows) normalize_row(norm, r);
}

/// Residual's tensors in a kernel.
template <typename T, typename Branch>
struct Join {
  const T* residual;  ///< or null
  const Branch* branch;
  const float* bias;  ///< or null
  T* out;
  std::int64_t channels;
  DropoutSite dropout;
  TokenRows tokens;
  bool aligned;

  explicit Join(const Residual& arguments)
      : residual(device_data<T>(arguments.residual)),
        branch(device_data<Branch>(arguments.branch)),
        bias(device_data<float>(arguments.bias)),
        out(device_data<T>(arguments.out)),
        channels(arguments.out.shape()[1]),
        dropout(arguments.dropout),
        tokens(arguments.rows),
        aligned(rows_are_aligned(channels, eight, {residual, branch, bias, out})) {}
};

/// out = residual + dropout(branch + bias) for 8 channels of row r, which is token `position` of `sample`.
template <typename T, typename Branch>
__device__ void join_eight(const Join<T, Branch>& join, std::int64_t r, std::uint64_t sample, std::int64_t position,
                           std::int64_t block) {
  const std::int64_t c = block * eight, left = join.channels - c, at = r * join.channels + c;
  float factors[eight];
  dropout_factors(join.dropout, sample, position, block, factors);
  Eight values = load_eight(join.branch + at, left, join.aligned);
  if (join.bias) {
    const Eight bias = load_eight(join.bias + c, left, join.aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) values[i] += bias[i];
  }
#pragma unroll
  for (int i = 0; i < eight; ++i) values[i] *= factors[i];
  if (join.residual) {
    const Eight residual = load_eight(join.residual + at, left, join.aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) values[i] += residual[i];
  }
  store_eight(join.out + at, values, left, join.aligned);
}

/// One thread 8 channels of one row.
template <typename T, typename Branch>
__global__ void join_rows(const Join<T, Branch> join, std::int64_t rows) {
  const std::int64_t blocks = parts_of(join.channels, eight);
  const std::int64_t r = grid_thread() / blocks;
  if (r >= rows) return;
  const std::uint64_t sample = join.dropout.active() ? sample_of_row(join.tokens, r) : 0;
  join_eight(join, r, sample, position_of_row(join.tokens, r), grid_thread() % blocks);
}

/// One warp one row. The norm reads what a lane itself has stored, rounded to the stream's type.
template <typename T, typename Branch>
__global__ void join_and_normalize_rows(const Join<T, Branch> join, const Norm<T> norm, std::int64_t rows) {
  const std::int64_t r = row_of_warp();
  if (r >= rows) return;
  const std::uint64_t sample = join.dropout.active() ? sample_of_row(join.tokens, r) : 0;
  const std::int64_t position = position_of_row(join.tokens, r);
  const std::int64_t blocks = parts_of(join.channels, eight);
  for (std::int64_t block = lane_of_thread(); block < blocks; block += warp_threads)
    join_eight(join, r, sample, position, block);
  normalize_row(norm, r);
}

/// LayerNormGradient's tensors in a kernel.
template <typename T, typename Gradient>
struct NormGradient {
  const Gradient* dy;
  const T* x;
  const float* weight;
  const float* mean;
  const float* rstd;
  const T* residual_gradient;  ///< or null
  T* dx;
  std::int64_t rows;
  std::int64_t channels;
  bool aligned;

  explicit NormGradient(const LayerNormGradient& arguments)
      : dy(device_data<Gradient>(arguments.dy)),
        x(device_data<T>(arguments.x)),
        weight(arguments.weight.data<float>()),
        mean(arguments.mean.data<float>()),
        rstd(arguments.rstd.data<float>()),
        residual_gradient(device_data<T>(arguments.residual_gradient)),
        dx(device_data<T>(arguments.dx)),
        rows(arguments.x.shape()[0]),
        channels(arguments.x.shape()[1]),
        aligned(rows_are_aligned(channels, eight, {dy, x, weight, residual_gradient, dx})) {}
};

/// dx = residual gradient + rstd * (g - mean of g - x_hat * mean of g x_hat), g = dy * weight. One warp one row.
template <typename T, typename Gradient>
__global__ void input_gradient_rows(const NormGradient<T, Gradient> gradient) {
  const std::int64_t r = row_of_warp();
  if (r >= gradient.rows) return;
  const std::int64_t channels = gradient.channels, at = r * channels;
  const bool aligned = gradient.aligned;
  const float mean = gradient.mean[r], rstd = gradient.rstd[r];
  const std::int64_t begin = lane_of_thread() * eight;
  float sum_g = 0, sum_g_x_hat = 0;
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    const Eight dy = load_eight(gradient.dy + at + c, channels - c, aligned);
    const Eight x = load_eight(gradient.x + at + c, channels - c, aligned);
    const Eight weight = load_eight(gradient.weight + c, channels - c, aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) {  // behind the last channel g is zero
      const float g = dy[i] * weight[i];
      sum_g += g;
      sum_g_x_hat += g * ((x[i] - mean) * rstd);
    }
  }
  const auto count = static_cast<float>(channels);
  const float mean_g = warp_sum(sum_g) / count, mean_g_x_hat = warp_sum(sum_g_x_hat) / count;
  for (std::int64_t c = begin; c < channels; c += channels_at_once) {
    Eight dy = load_eight(gradient.dy + at + c, channels - c, aligned);
    const Eight x = load_eight(gradient.x + at + c, channels - c, aligned);
    const Eight weight = load_eight(gradient.weight + c, channels - c, aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) dy[i] = (dy[i] * weight[i] - mean_g - (x[i] - mean) * rstd * mean_g_x_hat) * rstd;
    if (gradient.residual_gradient) {
      const Eight residual = load_eight(gradient.residual_gradient + at + c, channels - c, aligned);
#pragma unroll
      for (int i = 0; i < eight; ++i) dy[i] += residual[i];
    }
    store_eight(gradient.dx + at + c, dy, channels - c, aligned);
  }
}

// dweight and dbias are sums over all rows. Pieces of rows are added up first, one thread a channel, into sums
// [pieces, 2, C] in the workspace; the pieces' sums are then added in order.
constexpr int channels_of_a_block = 128;

/// How the rows are cut; it depends on the shape only, and with it the order of the sums.
struct RowPieces {
  std::int64_t rows_of_a_piece;
  std::int64_t pieces;

  RowPieces(std::int64_t rows, std::int64_t slices) {
    constexpr std::int64_t wanted_blocks = 1152, least_rows = 16;
    const std::int64_t wanted = std::clamp<std::int64_t>(wanted_blocks / slices, 64, 384);
    rows_of_a_piece = std::max(least_rows, parts_of(rows, wanted));
    pieces = parts_of(rows, rows_of_a_piece);
  }
};

template <typename T, typename Gradient>
__global__ void sum_columns_of_pieces(const NormGradient<T, Gradient> gradient, std::int64_t rows_of_a_piece,
                                      std::int64_t slices, float* sums) {
  const std::int64_t piece = blockIdx.x / slices, channels = gradient.channels;
  const std::int64_t c = blockIdx.x % slices * channels_of_a_block + threadIdx.x;
  if (c >= channels) return;
  const std::int64_t begin = piece * rows_of_a_piece;
  const std::int64_t end = begin + rows_of_a_piece < gradient.rows ? begin + rows_of_a_piece : gradient.rows;
  float dweight = 0, dbias = 0;
#pragma unroll 8
  for (std::int64_t r = begin; r < end; ++r) {
    const float slope = load(gradient.dy + r * channels + c);
    const float x_hat = (load(gradient.x + r * channels + c) - gradient.mean[r]) * gradient.rstd[r];
    dweight += slope * x_hat;
    dbias += slope;
  }
  sums[piece * 2 * channels + c] = dweight;
  sums[(piece * 2 + 1) * channels + c] = dbias;
}

/// One thread one channel of dweight or dbias.
__global__ void add_sums_of_pieces(const float* sums, std::int64_t pieces, std::int64_t channels, float* dweight,
                                   float* dbias, bool accumulate) {
  const std::int64_t column = grid_thread();
  if (column >= 2 * channels) return;
  float sum = 0;
#pragma unroll 8
  for (std::int64_t piece = 0; piece < pieces; ++piece) sum += sums[piece * 2 * channels + column];
  float* to = column < channels ? dweight + column : dbias + (column - channels);
  *to = accumulate ? *to + sum : sum;
}

/// One thread 8 channels of one row.
template <typename T>
__global__ void multiply_by_mask(const T* from, T* to, std::int64_t rows, std::int64_t channels, DropoutSite dropout,
                                 TokenRows tokens, bool aligned) {
  const std::int64_t blocks = parts_of(channels, eight);
  const std::int64_t r = grid_thread() / blocks;
  if (r >= rows) return;
  const std::int64_t block = grid_thread() % blocks, c = block * eight;
  float factors[eight];
  dropout_factors(dropout, dropout.active() ? sample_of_row(tokens, r) : 0, position_of_row(tokens, r), block, factors);
  Eight values = load_eight(from + r * channels + c, channels - c, aligned);
#pragma unroll
  for (int i = 0; i < eight; ++i) values[i] *= factors[i];
  store_eight(to + r * channels + c, values, channels - c, aligned);
}

template <typename T, typename Gradient>
void launch_gradient(Queue& queue, const LayerNormGradient& arguments) {
  const NormGradient<T, Gradient> gradient(arguments);
  const std::int64_t channels = gradient.channels;
  const std::int64_t slices = parts_of(channels, channels_of_a_block);
  const RowPieces cut(gradient.rows, slices);
  auto* sums =
      reinterpret_cast<float*>(queue.workspace(layer_norm_workspace(gradient.rows, channels, queue.threads())));
  // The columns come first: dx may take the place of what they read.
  sum_columns_of_pieces<<<grid_of(cut.pieces * slices, 1), channels_of_a_block, 0, stream_of(queue)>>>(
      gradient, cut.rows_of_a_piece, slices, sums);
  check_launch();
  add_sums_of_pieces<<<grid_of(2 * channels, channels_of_a_block), channels_of_a_block, 0, stream_of(queue)>>>(
      sums, cut.pieces, channels, arguments.dweight.data<float>(), arguments.dbias.data<float>(), arguments.accumulate);
  check_launch();
  input_gradient_rows<<<grid_of(gradient.rows, rows_of_a_block), threads_of_a_block, 0, stream_of(queue)>>>(gradient);
  check_launch();
}

}  // namespace

void layer_norm(Queue& queue, const LayerNorm& arguments) {
  if (arguments.x.elements() == 0) return;
  const std::int64_t rows = arguments.x.shape()[0];
  with_device_type(arguments.x.type(), [&]<typename T>(T) {
    normalize_rows<<<grid_of(rows, rows_of_a_block), threads_of_a_block, 0, stream_of(queue)>>>(
        Norm<T>(arguments, arguments.x), rows);
    check_launch();
  });
}

void residual(Queue& queue, const Residual& arguments) {
  if (arguments.out.elements() == 0) return;
  const std::int64_t rows = arguments.out.shape()[0];
  const std::int64_t threads = rows * parts_of(arguments.out.shape()[1], eight);
  with_device_type(arguments.out.type(), [&]<typename T>(T) {
    with_device_type(arguments.branch.type(), [&]<typename Branch>(Branch) {
      join_rows<<<grid_of(threads), block_threads, 0, stream_of(queue)>>>(Join<T, Branch>(arguments), rows);
      check_launch();
    });
  });
}

void residual_layer_norm(Queue& queue, const ResidualLayerNorm& arguments) {
  const TensorView& stream = arguments.residual.out;
  if (stream.elements() == 0) return;
  const std::int64_t rows = stream.shape()[0];
  with_device_type(stream.type(), [&]<typename T>(T) {
    with_device_type(arguments.residual.branch.type(), [&]<typename Branch>(Branch) {
      join_and_normalize_rows<<<grid_of(rows, rows_of_a_block), threads_of_a_block, 0, stream_of(queue)>>>(
          Join<T, Branch>(arguments.residual), Norm<T>(arguments.norm, stream), rows);
      check_launch();
    });
  });
}

void layer_norm_gradient(Queue& queue, const LayerNormGradient& arguments) {
  if (arguments.x.elements() == 0) return;
  with_device_type(arguments.x.type(), [&]<typename T>(T) {
    with_device_type(arguments.dy.type(),
                     [&]<typename Gradient>(Gradient) { launch_gradient<T, Gradient>(queue, arguments); });
  });
}

void dropout_gradient(Queue& queue, const DropoutGradient& arguments) {
  ensure(arguments.dbranch.type() == arguments.dout.type(), "dropout_gradient: dbranch and dout differ in type");
  if (arguments.dout.elements() == 0) return;
  const std::int64_t rows = arguments.dout.shape()[0], channels = arguments.dout.shape()[1];
  const bool aligned = rows_are_aligned(channels, eight, {arguments.dout.raw(), arguments.dbranch.raw()});
  with_device_type(arguments.dout.type(), [&]<typename T>(T) {
    multiply_by_mask<<<grid_of(rows * parts_of(channels, eight)), block_threads, 0, stream_of(queue)>>>(
        device_data<const T>(arguments.dout), device_data<T>(arguments.dbranch), rows, channels,
        DropoutSite(arguments.dropout), arguments.rows, aligned);
    check_launch();
  });
}

std::size_t layer_norm_workspace(std::int64_t rows, std::int64_t channels, int) {
  if (rows == 0 || channels == 0) return 0;
  const RowPieces cut(rows, parts_of(channels, channels_of_a_block));
  return static_cast<std::size_t>(cut.pieces * 2 * channels) * sizeof(float);
}

}  // namespace penstock::ops
