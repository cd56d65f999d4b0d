#include "ops/linear.hpp"

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/kernel.cuh"
#include "ops/products.hpp"

namespace penstock::ops {
namespace {

/// Neighbours that one thread loads and stores together.
template <typename T, int count>
struct alignas(std::min<std::size_t>(sizeof(T) * count, 16)) Pack {
  T values[count];
};

constexpr std::size_t rounded_to_256(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

/// A grid in two directions, of which only the first may be long.
dim3 grid_of_blocks(std::int64_t x, std::int64_t y) {
  ensure(y < 65536, "a matrix has too many columns for a grid of blocks");
  return {grid_of(x, 1), static_cast<unsigned>(y)};
}

// ---- Bias and GELU ------------------------------------------------------------------------------------------------

constexpr float gelu_linear = 0.7978845608028654F;  // sqrt(2 / pi)
constexpr float gelu_cubic = 0.044715F;

/// (1 + tanh(z)) / 2 of GELU's z(u); as a logistic function, which keeps its digits where tanh is near -1.
__device__ inline float gelu_gate(float u) {
  return 1.0F / (1.0F + expf(-2.0F * gelu_linear * (u + gelu_cubic * u * u * u)));
}

__device__ inline float gelu(float u) { return u * gelu_gate(u); }

__device__ inline float gelu_slope(float u) {
  if (u > 20.0F) return 1.0F;  // beyond, the gate is 0 or 1 and u^3 might overflow
  if (u < -20.0F) return 0.0F;
  const float gate = gelu_gate(u);
  return gate + 2.0F * u * gate * (1.0F - gate) * gelu_linear * (1.0F + 3.0F * gelu_cubic * u * u);
}

constexpr std::int64_t rows_of_a_block = 8;

/// u += bias where there is a bias; y = gelu(u), of u as it is kept, where there is a y.
template <int count, typename U, typename Y>
__global__ void __launch_bounds__(block_threads)
    finish_rows(U* u, const float* bias, Y* y, std::int64_t rows, std::int64_t columns) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * block_threads + threadIdx.x) * count;
  if (column >= columns) return;
  float offsets[count] = {};
  if (bias)
    for (int i = 0; i < count; ++i) offsets[i] = bias[column + i];
  const std::int64_t first = blockIdx.x * rows_of_a_block;
  const std::int64_t end = min(first + rows_of_a_block, rows);
  for (std::int64_t row = first; row < end; ++row) {
    const std::int64_t place = row * columns + column;
    auto pack = *reinterpret_cast<const Pack<U, count>*>(u + place);
    for (int i = 0; i < count; ++i) store(&pack.values[i], load(&pack.values[i]) + offsets[i]);
    if (bias) *reinterpret_cast<Pack<U, count>*>(u + place) = pack;
    if (!y) continue;
    Pack<Y, count> activated;
    for (int i = 0; i < count; ++i) store(&activated.values[i], gelu(load(&pack.values[i])));
    *reinterpret_cast<Pack<Y, count>*>(y + place) = activated;
  }
}

/// dx = product * gelu'(u); u may be dx, of which a thread reads its own elements before it writes them.
template <int count, typename U, typename Gradient>
__global__ void __launch_bounds__(block_threads)
    multiply_by_gelu_slope(const float* product, const U* u, Gradient* dx, std::int64_t elements) {
  const std::int64_t place = (static_cast<std::int64_t>(blockIdx.x) * block_threads + threadIdx.x) * count;
  if (place >= elements) return;
  const auto factors = *reinterpret_cast<const Pack<float, count>*>(product + place);
  const auto inputs = *reinterpret_cast<const Pack<U, count>*>(u + place);
  Pack<Gradient, count> results;
  for (int i = 0; i < count; ++i) store(&results.values[i], factors.values[i] * gelu_slope(load(&inputs.values[i])));
  *reinterpret_cast<Pack<Gradient, count>*>(dx + place) = results;
}

constexpr int neighbours = eight;

/// Whether threads may take 8 neighbours at once, in loads of 16 bytes.
bool allows_packs(std::int64_t columns, std::initializer_list<const void*> addresses) {
  return columns % neighbours == 0 &&
         std::all_of(addresses.begin(), addresses.end(), [](const void* p) { return alignment_of(p) >= 16; });
}

/// Adds the bias to u and takes gelu(u) to y, where there is the one or the other.
void finish(Queue& queue, const TensorView& u, const TensorView& bias, const TensorView& y) {
  if (!bias.present() && !y.present()) return;
  const std::int64_t rows = u.shape()[0], columns = u.shape()[1];
  const bool packed = allows_packs(columns, {u.raw(), y.raw()});
  const dim3 grid =
      grid_of_blocks(parts_of(rows, rows_of_a_block),
                     parts_of(columns, static_cast<std::int64_t>(block_threads) * (packed ? neighbours : 1)));
  const float* offsets = bias.present() ? bias.data<float>() : nullptr;
  with_device_type(u.type(), [&]<typename U>(U) {
    with_device_type(y.present() ? y.type() : u.type(), [&]<typename Y>(Y) {
      const auto kernel = packed ? finish_rows<neighbours, U, Y> : finish_rows<1, U, Y>;
      kernel<<<grid, block_threads, 0, stream_of(queue)>>>(static_cast<U*>(u.raw()), offsets, static_cast<Y*>(y.raw()),
                                                           rows, columns);
      check_launch();
    });
  });
}

/// dx = product * gelu'(u), element by element.
void apply_gelu_slope(Queue& queue, const float* product, const TensorView& u, const TensorView& dx) {
  const std::int64_t elements = dx.elements();
  const bool packed = allows_packs(elements, {product, u.raw(), dx.raw()});
  const unsigned grid = grid_of(elements, static_cast<std::int64_t>(block_threads) * (packed ? neighbours : 1));
  with_device_type(u.type(), [&]<typename U>(U) {
    with_device_type(dx.type(), [&]<typename Gradient>(Gradient) {
      const auto kernel =
          packed ? multiply_by_gelu_slope<neighbours, U, Gradient> : multiply_by_gelu_slope<1, U, Gradient>;
      kernel<<<grid, block_threads, 0, stream_of(queue)>>>(product, static_cast<const U*>(u.raw()),
                                                           static_cast<Gradient*>(dx.raw()), elements);
      check_launch();
    });
  });
}

// ---- Sums of columns ----------------------------------------------------------------------------------------------

constexpr int columns_of_a_block = 128;

/// Rows are cut into pieces that their number alone fixes: of 64 rows, or more where that makes over 256 pieces.
std::int64_t rows_of_a_piece(std::int64_t rows) { return std::max<std::int64_t>(64, parts_of(rows, 256)); }
std::int64_t column_sum_pieces(std::int64_t rows) { return parts_of(rows, rows_of_a_piece(rows)); }

std::size_t column_sum_bytes(std::int64_t rows, std::int64_t columns) {
  return rounded_to_256(static_cast<std::size_t>(column_sum_pieces(rows) * columns) * sizeof(float));
}

/// partial[piece, column] = sum of a piece's rows, in their order.
template <typename T>
__global__ void __launch_bounds__(columns_of_a_block)
    sum_pieces(const T* from, float* partial, std::int64_t rows, std::int64_t columns, std::int64_t piece_rows) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * columns_of_a_block + threadIdx.x;
  if (column >= columns) return;
  const std::int64_t first = blockIdx.x * piece_rows, end = min(first + piece_rows, rows);
  float sum = 0;
#pragma unroll 8
  for (std::int64_t row = first; row < end; ++row) sum += load(from + row * columns + column);
  partial[blockIdx.x * columns + column] = sum;
}

constexpr int sum_columns = 32;
constexpr int sum_lines = 8;

/// to[column] (+)= sum of the pieces: 8 lines of threads take every eighth one, and their sums are added in order.
__global__ void __launch_bounds__(sum_columns* sum_lines)
    add_pieces(const float* partial, float* to, std::int64_t pieces, std::int64_t columns, bool accumulate) {
  __shared__ float line_sums[sum_lines][sum_columns];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * sum_columns + threadIdx.x;
  float sum = 0;
  if (column < columns) {
#pragma unroll 4
    for (std::int64_t piece = threadIdx.y; piece < pieces; piece += sum_lines) sum += partial[piece * columns + column];
  }
  line_sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  for (int line = 1; line < sum_lines; ++line) sum += line_sums[line][threadIdx.x];
  to[column] = accumulate ? to[column] + sum : sum;
}

/// dbias (+)= the sum of dy over rows; `workspace` has column_sum_bytes.
void add_column_sums(Queue& queue, const TensorView& dy, const TensorView& dbias, bool accumulate,
                     std::byte* workspace) {
  const std::int64_t rows = dy.shape()[0], columns = dy.shape()[1];
  const std::int64_t pieces = column_sum_pieces(rows);
  auto* partial = reinterpret_cast<float*>(workspace);
  if (pieces > 0)
    with_device_type(dy.type(), [&]<typename T>(T) {
      sum_pieces<T>
          <<<grid_of_blocks(pieces, parts_of(columns, columns_of_a_block)), columns_of_a_block, 0, stream_of(queue)>>>(
              static_cast<const T*>(dy.raw()), partial, rows, columns, rows_of_a_piece(rows));
      check_launch();
    });
  add_pieces<<<grid_of(columns, sum_columns), dim3(sum_columns, sum_lines), 0, stream_of(queue)>>>(
      partial, dbias.data<float>(), pieces, columns, accumulate);
  check_launch();
}

/// Rows whose product, in float32, is held at once before GELU's slope is applied: at most 256 MiB of them.
std::int64_t rows_held(std::int64_t rows, std::int64_t columns) {
  const std::int64_t fitting = (std::int64_t{256} << 20) / (columns * static_cast<std::int64_t>(sizeof(float)));
  return std::min(rows, std::max<std::int64_t>(fitting / 128 * 128, 128));
}

}  // namespace

void linear(Queue& queue, const Linear& arguments) {
  const bool activate = arguments.pre_activation.present();
  const TensorView& first_output = activate ? arguments.pre_activation : arguments.y;
  const std::int64_t rows = arguments.x.shape()[0];
  // y^T = W x^T, where the memory of W is [K, M] column-major and that of x^T is [K, N].
  const Product product{.m = arguments.weight.shape()[0],
                        .n = rows,
                        .k = arguments.x.shape()[1],
                        .transpose_a = true,
                        .transpose_b = false,
                        .type = arguments.x.type(),
                        .result = first_output.type()};
  ensure(arguments.weight.type() == arguments.x.type(), "linear: x and weight differ in type");
  ensure(arguments.weight.shape()[1] == product.k && first_output.shape()[0] == rows &&
             first_output.shape()[1] == product.m && arguments.y.elements() == first_output.elements(),
         "linear: the shapes do not fit");
  if (first_output.elements() == 0) return;

  const Operands operands{arguments.weight.raw(), arguments.x.raw(), first_output.raw()};
  ProductPlan& plan =
      plan_of(queue, product, {alignment_of(operands.a), alignment_of(operands.b), alignment_of(operands.d)});
  multiply(queue, plan, product, operands, queue.workspace(workspace_bytes(plan)));
  finish(queue, first_output, arguments.bias, activate ? arguments.y : TensorView());
}

void linear_input_gradient(Queue& queue, const LinearInputGradient& arguments) {
  const bool slope = arguments.pre_activation.present();
  const std::int64_t rows = arguments.dy.shape()[0], columns = arguments.weight.shape()[1];
  ensure(arguments.weight.type() == arguments.dy.type(), "linear_input_gradient: dy and weight differ in type");
  ensure(arguments.dy.shape()[1] == arguments.weight.shape()[0] && arguments.dx.shape()[0] == rows &&
             arguments.dx.shape()[1] == columns,
         "linear_input_gradient: the shapes do not fit");
  if (arguments.dx.elements() == 0) return;

  // With GELU the product goes to the workspace first: the pre-activation may be dx itself.
  const std::int64_t held = slope ? rows_held(rows, columns) : rows;
  const std::size_t held_bytes = slope ? rounded_to_256(static_cast<std::size_t>(held * columns) * sizeof(float)) : 0;
  for (std::int64_t first = 0; first < rows; first += held) {
    const std::int64_t count = std::min(held, rows - first);
    const TensorView dy = arguments.dy.rows(first, count), dx = arguments.dx.rows(first, count);
    // dx^T = W^T dy^T, where the memory of W^T is [K, M] column-major and that of dy^T is [M, N].
    const Product product{.m = columns,
                          .n = count,
                          .k = arguments.dy.shape()[1],
                          .transpose_a = false,
                          .transpose_b = false,
                          .type = dy.type(),
                          .result = slope ? DType::float32 : dx.type()};
    Operands operands{arguments.weight.raw(), dy.raw(), dx.raw()};
    const std::uint32_t result_alignment = slope ? 256 : alignment_of(dx.raw());
    ProductPlan& plan = plan_of(queue, product, {alignment_of(operands.a), alignment_of(operands.b), result_alignment});
    std::byte* workspace = queue.workspace(held_bytes + workspace_bytes(plan));
    if (slope) operands.d = workspace;
    multiply(queue, plan, product, operands, workspace + held_bytes);
    if (slope)
      apply_gelu_slope(queue, reinterpret_cast<const float*>(workspace), arguments.pre_activation.rows(first, count),
                       dx);
  }
}

void linear_weight_gradient(Queue& queue, const LinearWeightGradient& arguments) {
  const std::int64_t rows = arguments.dy.shape()[0];
  // dW^T = x^T dy, where the memory of x^T is [K, N] column-major and that of dy is [M, N], its transpose.
  const Product product{.m = arguments.x.shape()[1],
                        .n = arguments.dy.shape()[1],
                        .k = rows,
                        .transpose_a = false,
                        .transpose_b = true,
                        .type = arguments.dy.type(),
                        .result = DType::float32,
                        .accumulate = arguments.accumulate};
  ensure(arguments.x.type() == arguments.dy.type(), "linear_weight_gradient: dy and x differ in type");
  ensure(arguments.dweight.type() == DType::float32, "linear_weight_gradient: dweight is not float32");
  ensure(arguments.x.shape()[0] == rows && arguments.dweight.shape()[0] == product.n &&
             arguments.dweight.shape()[1] == product.m,
         "linear_weight_gradient: the shapes do not fit");

  const std::size_t sum_bytes = arguments.dbias.present() && product.n > 0 ? column_sum_bytes(rows, product.n) : 0;
  if (arguments.dweight.elements() > 0) {
    const Operands operands{arguments.x.raw(), arguments.dy.raw(), arguments.dweight.raw()};
    ProductPlan& plan =
        plan_of(queue, product, {alignment_of(operands.a), alignment_of(operands.b), alignment_of(operands.d)});
    multiply(queue, plan, product, operands, queue.workspace(workspace_bytes(plan)));
  }
  // The sums come behind the product in the queue's order, so that they may use the same workspace.
  if (arguments.dbias.present() && product.n > 0)
    add_column_sums(queue, arguments.dy, arguments.dbias, arguments.accumulate, queue.workspace(sum_bytes));
}

}  // namespace penstock::ops
