// SPDX-License-Identifier: Apache-2.0
#include "ops/linear.hpp"

#include <algorithm>
#include <cstdint>

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/column_sums.hpp"
#include "ops/finished_products.hpp"
#include "ops/kernel.cuh"
#include "ops/linear_products.hpp"

namespace penstock::ops {

void linear(Queue& queue, const Linear& arguments) {
  const bool activate = arguments.pre_activation.present();
  const TensorView& y = arguments.y;
  const LinearShape shape{.rows = arguments.x.shape()[0],
                          .inputs = arguments.x.shape()[1],
                          .outputs = arguments.weight.shape()[0],
                          .type = arguments.x.type(),
                          .y = y.type(),
                          .bias = arguments.bias.present(),
                          .activated = activate};
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
                          .dweight = arguments.dweight.type(),
                          .accumulate = arguments.accumulate};
  ensure(arguments.x.type() == shape.type, "linear_weight_gradient: dy and x differ in type");
  ensure(shape.dweight == DType::float32 || (shape.dweight == shape.type && !shape.accumulate),
         "linear_weight_gradient: only what overwrites may be bfloat16");
  ensure(arguments.x.shape()[0] == shape.rows && arguments.dweight.shape()[0] == shape.outputs &&
             arguments.dweight.shape()[1] == shape.inputs,
         "linear_weight_gradient: the shapes do not fit");
  if (arguments.dweight.elements() > 0)
    multiply_and_finish(queue, weight_gradient_product(shape),
                        {.a = arguments.x.raw(), .b = arguments.dy.raw(), .d = arguments.dweight.raw()});
  // The sums follow the product in the queue's order, so they may use the same workspace. cuBLASLt's own sums of a bias
  // gain nothing: they are a second kernel, too, and they overwrite instead of adding.
  if (arguments.dbias.present() && shape.outputs > 0)
    sum_columns(queue,
                {.elements = arguments.dy.raw(), .type = shape.type, .rows = shape.rows, .columns = shape.outputs},
                arguments.dbias.data<float>(), arguments.accumulate,
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
