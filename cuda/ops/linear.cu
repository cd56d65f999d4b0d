#include "ops/linear.hpp"

#include <algorithm>
#include <cstdint>

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/finished_products.hpp"
#include "ops/kernel.cuh"
#include "ops/linear_products.hpp"

namespace penstock::ops {
namespace {

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

}  // namespace

void linear(Queue& queue, const Linear& arguments) {
  const bool activate = arguments.pre_activation.present();
  const TensorView& y = arguments.y;
  const LinearShape shape{.rows = arguments.x.shape()[0],
                          .inputs = arguments.x.shape()[1],
                          .outputs = arguments.weight.shape()[0],
                          .type = arguments.x.type(),
                          .y = y.type(),
                          .bias = arguments.bias.present(),
                          .gelu = activate};
  ensure(arguments.weight.type() == shape.type, "linear: x and weight differ in type");
  ensure(arguments.weight.shape()[1] == shape.inputs && y.shape()[0] == shape.rows && y.shape()[1] == shape.outputs &&
             (!activate || arguments.pre_activation.elements() == y.elements()),
         "linear: the shapes do not fit");
  ensure(!activate || arguments.pre_activation.type() == y.type(), "linear: pre_activation and y differ in type");
  if (y.elements() == 0) return;
  multiply_and_finish(queue, forward_product(shape),
                      {.a = arguments.weight.raw(),
                       .b = arguments.x.raw(),
                       .d = y.raw(),
                       .bias = shape.bias ? arguments.bias.data<float>() : nullptr,
                       .pre_activation = arguments.pre_activation.raw()});
}

void linear_input_gradient(Queue& queue, const LinearInputGradient& arguments) {
  const bool slope = arguments.pre_activation.present();
  const TensorView& dx = arguments.dx;
  const LinearShape shape{.rows = arguments.dy.shape()[0],
                          .inputs = arguments.weight.shape()[1],
                          .outputs = arguments.weight.shape()[0],
                          .type = arguments.dy.type(),
                          .dx = dx.type(),
                          .slope = slope,
                          .slope_in_place = slope && arguments.pre_activation.raw() == dx.raw()};
  ensure(arguments.weight.type() == shape.type, "linear_input_gradient: dy and weight differ in type");
  ensure(arguments.dy.shape()[1] == shape.outputs && dx.shape()[0] == shape.rows && dx.shape()[1] == shape.inputs &&
             (!slope || arguments.pre_activation.elements() == dx.elements()),
         "linear_input_gradient: the shapes do not fit");
  ensure(!slope || arguments.pre_activation.type() == dx.type(),
         "linear_input_gradient: pre_activation and dx differ in type");
  if (dx.elements() == 0) return;

  const std::int64_t held = rows_held(shape);
  for (std::int64_t first = 0; first < shape.rows; first += held) {
    const std::int64_t count = std::min(held, shape.rows - first);
    multiply_and_finish(queue, input_gradient_product(shape, count),
                        {.a = arguments.weight.raw(),
                         .b = arguments.dy.rows(first, count).raw(),
                         .d = dx.rows(first, count).raw(),
                         .pre_activation = slope ? arguments.pre_activation.rows(first, count).raw() : nullptr});
  }
}

void linear_weight_gradient(Queue& queue, const LinearWeightGradient& arguments) {
  const LinearShape shape{.rows = arguments.dy.shape()[0],
                          .inputs = arguments.x.shape()[1],
                          .outputs = arguments.dy.shape()[1],
                          .type = arguments.dy.type(),
                          .accumulate = arguments.accumulate};
  ensure(arguments.x.type() == shape.type, "linear_weight_gradient: dy and x differ in type");
  ensure(arguments.dweight.type() == DType::float32, "linear_weight_gradient: dweight is not float32");
  ensure(arguments.x.shape()[0] == shape.rows && arguments.dweight.shape()[0] == shape.outputs &&
             arguments.dweight.shape()[1] == shape.inputs,
         "linear_weight_gradient: the shapes do not fit");
  if (arguments.dweight.elements() > 0)
    multiply_and_finish(queue, weight_gradient_product(shape),
                        {.a = arguments.x.raw(), .b = arguments.dy.raw(), .d = arguments.dweight.raw()});
  // The sums come behind the product in the queue's order, so that they may use the same workspace. cuBLASLt's own sums
  // of a bias overwrite what they should be added to.
  if (arguments.dbias.present() && shape.outputs > 0)
    add_column_sums(queue, arguments.dy, arguments.dbias, arguments.accumulate,
                    queue.workspace(column_sum_bytes(shape.rows, shape.outputs)));
}

void prepare_linears(Queue& queue, std::span<const LinearShape> shapes) {
  for (const LinearShape& shape : shapes)
    for (const Product& product : linear_products(shape)) prepare_product(queue, product);
}

std::size_t linear_workspace(const LinearShape& shape, int) {
  std::size_t bytes = shape.bias_gradient ? column_sum_bytes(shape.rows, shape.outputs) : 0;
  for (const Product& product : linear_products(shape)) {
    const bool in_place = shape.slope_in_place && product.epilogue == Epilogue::slope;
    bytes = std::max(bytes, finished_product_workspace(product, in_place));
  }
  return bytes;
}

}  // namespace penstock::ops
