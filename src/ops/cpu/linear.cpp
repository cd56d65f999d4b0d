// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.hpp"

#include "ops/cpu/parallel.hpp"
#include "ops/cpu/products.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

/// With fewer rows per thread the weight is not packed, because that costs more than it saves, and oneDNN divides the
/// product among the threads as it likes. If its sums would depend on that, whether rows are few does not depend on the
/// number of threads.
constexpr std::int64_t few_rows_a_thread = 128;
constexpr std::int64_t few_rows_on_any_threads = 512;

std::byte* at_row(const TensorView& matrix, std::int64_t row) {
  return static_cast<std::byte*>(matrix.raw()) +
         static_cast<std::size_t>(row * matrix.shape()[1]) * bytes_of(matrix.type());
}

template <typename To, typename From>
void gelu_elements(const From* from, To* to, std::int64_t n) {
  for_vectors(n, [&](std::int64_t i, auto part) { store(to + i, gelu(load(from + i, part)), part); });
}

template <typename To, typename Slope>
void multiply_by_gelu_slope(const float* product, const Slope* pre_activation, To* to, std::int64_t n) {
  for_vectors(n, [&](std::int64_t i, auto part) {
    store(to + i, load(product + i, part) * gelu_slope(load(pre_activation + i, part)), part);
  });
}

/// y = gelu(u) for rows [first, first + rows).
void gelu_rows(const TensorView& u, const TensorView& y, std::int64_t first, std::int64_t rows) {
  with_type(u.type(), [&]<typename From>(From) {
    with_type(y.type(), [&]<typename To>(To) {
      const std::int64_t begin = first * u.shape()[1];
      gelu_elements(u.data<From>() + begin, y.data<To>() + begin, rows * u.shape()[1]);
    });
  });
}

/// dx = product * gelu'(u) for rows [first, first + rows).
void gelu_slope_rows(const float* product, const TensorView& u, const TensorView& dx, std::int64_t first,
                     std::int64_t rows) {
  with_type(u.type(), [&]<typename Slope>(Slope) {
    with_type(dx.type(), [&]<typename To>(To) {
      const std::int64_t begin = first * u.shape()[1];
      multiply_by_gelu_slope(product, u.data<Slope>() + begin, dx.data<To>() + begin, rows * u.shape()[1]);
    });
  });
}

RowProduct forward_product(const LinearShape& shape) {
  return {.rows = shape.rows,
          .inputs = shape.inputs,
          .outputs = shape.outputs,
          .type = shape.type,
          .output_type = shape.y,
          .use = WeightUse::transposed,
          .bias = shape.bias};
}

RowProduct input_gradient_product(const LinearShape& shape) {
  return {.rows = shape.rows,
          .inputs = shape.outputs,
          .outputs = shape.inputs,
          .type = shape.type,
          .output_type = shape.slope ? DType::float32 : shape.dx,
          .use = WeightUse::plain,
          .bias = false};
}

SumProduct weight_gradient_product(const LinearShape& shape) {
  return {.m = shape.outputs,
          .n = shape.inputs,
          .k = shape.rows,
          .type = shape.type,
          .output_type = shape.dweight,
          .accumulate = shape.accumulate};
}

bool has_few_rows(const Queue& queue, const RowProduct& product) {
  if (is_widened(product)) return false;
  if (library_cuts_sums_for_threads()) return product.rows < few_rows_on_any_threads;
  // The two ways may differ in the last bits of bfloat16 products: the number of threads must not choose between them.
  const int threads = product.type == DType::bfloat16 ? 1 : queue.threads();
  return product.rows < few_rows_a_thread * threads;
}

/// With few rows: the bytes of the product in float32 before GELU's slope is applied.
std::size_t few_rows_bytes(const RowProduct& product) {
  return static_cast<std::size_t>(product.rows * product.outputs) * sizeof(float);
}

/// With GELU each thread's block goes to its own scratch first, because the pre-activation may be dx itself.
std::int64_t block_scratch_bytes(const RowProduct& product) {
  const std::int64_t rows = BlockedProduct::block_rows(product.outputs, product.output_type);
  return rounded_up(rows * product.outputs * static_cast<std::int64_t>(sizeof(float)), 4096);
}

constexpr std::int64_t rows_of_a_column_sum = 64;

std::size_t column_sum_bytes(std::int64_t rows, std::int64_t columns) {
  return static_cast<std::size_t>(pieces_of(rows, rows_of_a_column_sum) * columns) * sizeof(float);
}

/// dbias (+)= the sum of dy over rows: sums of 64 rows each, added in order.
template <typename T>
void sum_columns(Queue& queue, const TensorView& dy, const TensorView& dbias, bool accumulate) {
  const std::int64_t rows = dy.shape()[0];
  const std::int64_t columns = dy.shape()[1];
  const std::int64_t pieces = pieces_of(rows, rows_of_a_column_sum);
  auto* partial = reinterpret_cast<float*>(queue.workspace(column_sum_bytes(rows, columns)));
  for_pieces(queue, rows, rows_of_a_column_sum, [&](std::int64_t number, Piece piece) {
    float* sums = partial + number * columns;
    std::fill_n(sums, columns, 0.0F);
    for (std::int64_t row = piece.begin; row < piece.end; ++row) {
      const T* from = dy.data<T>() + row * columns;
      for_vectors(columns, [&](std::int64_t c, auto part) {
        store(sums + c, load(sums + c, part) + load(from + c, part), part);
      });
    }
  });
  add_partial_sums(queue, partial, pieces, columns, dbias.data<float>(), columns, accumulate);
}

}  // namespace

void linear(Queue& queue, const Linear& arguments) {
  const TensorView& first_output = arguments.pre_activation.present() ? arguments.pre_activation : arguments.y;
  const RowProduct product = forward_product({.rows = arguments.x.shape()[0],
                                              .inputs = arguments.x.shape()[1],
                                              .outputs = arguments.weight.shape()[0],
                                              .type = arguments.x.type(),
                                              .y = first_output.type(),
                                              .bias = arguments.bias.present()});
  ensure(arguments.weight.type() == arguments.x.type(), "linear: x and weight differ in type");
  ensure(arguments.weight.shape()[1] == product.inputs && first_output.shape()[0] == product.rows &&
             first_output.shape()[1] == product.outputs,
         "linear: the shapes do not fit");
  const float* bias = product.bias ? arguments.bias.data<float>() : nullptr;
  const bool activate = arguments.pre_activation.present();

  if (has_few_rows(queue, product)) {
    multiply_few_rows(queue, product, arguments.x.raw(), arguments.weight.raw(), bias, first_output.raw());
    if (activate)
      for_rows(queue, product.rows, [&](std::int64_t row) { gelu_rows(first_output, arguments.y, row, 1); });
    return;
  }
  std::byte* workspace = queue.workspace(static_cast<std::size_t>(BlockedProduct::workspace_bytes(queue, product)));
  const BlockedProduct blocked(queue, product, arguments.weight.raw(), bias, workspace);
  for_pieces(queue, product.rows, blocked.block_rows(), [&](std::int64_t, Piece piece) {
    const std::int64_t rows = piece.end - piece.begin;
    blocked.multiply(at_row(arguments.x, piece.begin), at_row(first_output, piece.begin), rows);
    if (activate) gelu_rows(first_output, arguments.y, piece.begin, rows);
  });
}

void linear_input_gradient(Queue& queue, const LinearInputGradient& arguments) {
  const bool slope = arguments.pre_activation.present();
  const RowProduct product = input_gradient_product({.rows = arguments.dy.shape()[0],
                                                     .inputs = arguments.weight.shape()[1],
                                                     .outputs = arguments.weight.shape()[0],
                                                     .type = arguments.dy.type(),
                                                     .dx = arguments.dx.type(),
                                                     .slope = slope});
  ensure(arguments.weight.type() == arguments.dy.type(), "linear_input_gradient: dy and weight differ in type");
  ensure(arguments.dy.shape()[1] == product.inputs && arguments.dx.shape()[0] == product.rows &&
             arguments.dx.shape()[1] == product.outputs,
         "linear_input_gradient: the shapes do not fit");

  if (has_few_rows(queue, product)) {
    void* to = slope ? queue.workspace(few_rows_bytes(product)) : arguments.dx.raw();
    multiply_few_rows(queue, product, arguments.dy.raw(), arguments.weight.raw(), nullptr, to);
    if (slope)
      for_rows(queue, product.rows, [&](std::int64_t row) {
        gelu_slope_rows(static_cast<const float*>(to) + row * product.outputs, arguments.pre_activation, arguments.dx,
                        row, 1);
      });
    return;
  }
  const std::int64_t scratch_bytes = block_scratch_bytes(product);
  const std::int64_t product_bytes = BlockedProduct::workspace_bytes(queue, product);
  std::byte* workspace =
      queue.workspace(static_cast<std::size_t>(product_bytes + (slope ? queue.threads() * scratch_bytes : 0)));
  const BlockedProduct blocked(queue, product, arguments.weight.raw(), nullptr, workspace);
  for_pieces(queue, product.rows, blocked.block_rows(), [&](std::int64_t, Piece piece) {
    const std::int64_t rows = piece.end - piece.begin;
    if (!slope) return blocked.multiply(at_row(arguments.dy, piece.begin), at_row(arguments.dx, piece.begin), rows);
    auto* scratch = reinterpret_cast<float*>(workspace + product_bytes + omp_get_thread_num() * scratch_bytes);
    blocked.multiply(at_row(arguments.dy, piece.begin), scratch, rows);
    gelu_slope_rows(scratch, arguments.pre_activation, arguments.dx, piece.begin, rows);
  });
}

void linear_weight_gradient(Queue& queue, const LinearWeightGradient& arguments) {
  const SumProduct product = weight_gradient_product({.rows = arguments.dy.shape()[0],
                                                      .inputs = arguments.x.shape()[1],
                                                      .outputs = arguments.dy.shape()[1],
                                                      .type = arguments.dy.type(),
                                                      .dweight = arguments.dweight.type(),
                                                      .accumulate = arguments.accumulate});
  ensure(arguments.x.type() == arguments.dy.type(), "linear_weight_gradient: dy and x differ in type");
  ensure(product.output_type == DType::float32 || (product.output_type == product.type && !product.accumulate),
         "linear_weight_gradient: only what overwrites may be bfloat16");
  ensure(arguments.x.shape()[0] == product.k && arguments.dweight.shape()[0] == product.m &&
             arguments.dweight.shape()[1] == product.n,
         "linear_weight_gradient: the shapes do not fit");
  multiply_transposed(queue, product, arguments.dy.raw(), arguments.x.raw(), arguments.dweight.raw(),
                      queue.workspace(workspace_bytes(queue, product)));
  if (arguments.dbias.present())
    with_type(arguments.dy.type(),
              [&]<typename T>(T) { sum_columns<T>(queue, arguments.dy, arguments.dbias, arguments.accumulate); });
}

void prepare_linears(Queue&, std::span<const LinearShape>) {}

std::size_t linear_workspace(const LinearShape& shape, int threads) {
  Queue queue({.threads = threads});  // oneDNN reports its needs when a product is compiled
  std::size_t bytes = shape.bias_gradient ? column_sum_bytes(shape.rows, shape.outputs) : 0;
  const auto need = [&](std::int64_t more) { bytes = std::max(bytes, static_cast<std::size_t>(more)); };
  need(static_cast<std::int64_t>(workspace_bytes(queue, weight_gradient_product(shape))));
  const RowProduct forward = forward_product(shape), backward = input_gradient_product(shape);
  if (has_few_rows(queue, forward)) {
    if (shape.slope) bytes = std::max(bytes, few_rows_bytes(backward));
    return bytes;
  }
  need(BlockedProduct::workspace_bytes(queue, forward));
  need(BlockedProduct::workspace_bytes(queue, backward) +
       (shape.slope ? queue.threads() * block_scratch_bytes(backward) : 0));
  return bytes;
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(linear, Linear)
PENSTOCK_OPERATION(linear_input_gradient, LinearInputGradient)
PENSTOCK_OPERATION(linear_weight_gradient, LinearWeightGradient)
PENSTOCK_FUNCTION(void, prepare_linears, (Queue & queue, std::span<const LinearShape> shapes), (queue, shapes))
PENSTOCK_FUNCTION(std::size_t, linear_workspace, (const LinearShape& shape, int threads), (shape, threads))
