// SPDX-License-Identifier: Apache-2.0
#pragma once
// The products of a layer's three operations.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/linear.hpp"
#include "ops/products.hpp"

namespace penstock::ops {

constexpr std::size_t rounded_to_256(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

/// y^T = W x^T, where the memory of W is [K, M] column-major and that of x^T is [K, N].
inline Product forward_product(const LinearShape& shape) {
  return {.m = shape.outputs,
          .n = shape.rows,
          .k = shape.inputs,
          .transpose_a = true,
          .transpose_b = false,
          .type = shape.type,
          .result = shape.y,
          .epilogue = shape.activated ? (shape.bias ? Epilogue::bias_gelu : Epilogue::gelu)
                                      : (shape.bias ? Epilogue::bias : Epilogue::none)};
}

/// Rows of the input gradient that are computed at once. If GELU's slope is taken in place, the product or the
/// pre-activation is saved first: at most 256 MiB of it, in parts of equal size.
inline std::int64_t rows_held(const LinearShape& shape) {
  if (!shape.slope_in_place || shape.rows == 0 || shape.inputs == 0) return shape.rows;
  const auto row_bytes = shape.inputs * static_cast<std::int64_t>(bytes_of(shape.dx));
  const std::int64_t fitting = std::max<std::int64_t>((std::int64_t{256} << 20) / row_bytes / 128 * 128, 128);
  const std::int64_t parts = (shape.rows + fitting - 1) / fitting;
  const std::int64_t part = (shape.rows + parts - 1) / parts;
  return std::min(shape.rows, (part + 127) / 128 * 128);
}

/// dx^T = W^T dy^T for `rows` rows, where the memory of W^T is [K, M] column-major and that of dy^T is [M, N].
inline Product input_gradient_product(const LinearShape& shape, std::int64_t rows) {
  return {.m = shape.inputs,
          .n = rows,
          .k = shape.outputs,
          .transpose_a = false,
          .transpose_b = false,
          .type = shape.type,
          .result = shape.dx,
          .epilogue = shape.slope ? Epilogue::slope : Epilogue::none};
}

/// dW^T = x^T dy, where the memory of x^T is [K, N] column-major and that of dy is [M, N], its transpose.
inline Product weight_gradient_product(const LinearShape& shape) {
  return {.m = shape.inputs,
          .n = shape.outputs,
          .k = shape.rows,
          .transpose_a = false,
          .transpose_b = true,
          .type = shape.type,
          .result = shape.dweight,
          .accumulate = shape.accumulate};
}

/// All of them; the input gradient's last part may be shorter than the others.
inline std::vector<Product> linear_products(const LinearShape& shape) {
  std::vector<Product> products{forward_product(shape), weight_gradient_product(shape)};
  const std::int64_t held = rows_held(shape);
  if (held == 0) return products;
  products.push_back(input_gradient_product(shape, held));
  if (const std::int64_t rest = shape.rows % held) products.push_back(input_gradient_product(shape, rest));
  return products;
}

}  // namespace penstock::ops
