// SPDX-License-Identifier: Apache-2.0
#pragma once
// A row of the residual stream: shared by the norms that add a branch to it.

#include "ops/cpu/dropout_mask.hpp"
#include "ops/cpu/parallel.hpp"
#include "ops/layer_norm.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

/// Row r of a [R, C] view, or null if the view is absent.
template <typename T>
T* row_of(const TensorView& view, std::int64_t r, std::int64_t channels) {
  return view.present() ? view.data<T>() + r * channels : nullptr;
}

template <typename Row, typename T, typename Branch>
void join_row(Row factors, const T* residual, const Branch* branch, const float* bias, T* out, std::int64_t channels) {
  for_vectors(channels, [&](std::int64_t c, auto part) {
    Floats value = load(branch + c, part);
    if (bias) value += load(bias + c, part);
    value *= factors.at(c);
    if (residual) value += load(residual + c, part);
    store(out + c, value, part);
  });
}

/// Row r of out = residual + dropout(branch + bias).
template <typename T, typename Branch>
void residual_row(const Residual& arguments, std::int64_t r, std::int64_t channels) {
  const T* residual = row_of<T>(arguments.residual, r, channels);
  const Branch* branch = row_of<Branch>(arguments.branch, r, channels);
  const float* bias = arguments.bias.present() ? arguments.bias.data<float>() : nullptr;
  T* out = row_of<T>(arguments.out, r, channels);
  if (arguments.dropout.active())
    join_row(DropoutRow(arguments.dropout, arguments.rows.sample(r), arguments.rows.position(r)), residual, branch,
             bias, out, channels);
  else
    join_row(NoDropoutRow{}, residual, branch, bias, out, channels);
}

/// Rows whose share of a norm's column sums (dweight, dbias) one thread adds up, in one piece of the workspace.
inline constexpr std::int64_t rows_of_a_column_sum = 64;

}  // namespace penstock::ops::PENSTOCK_WIDTH
