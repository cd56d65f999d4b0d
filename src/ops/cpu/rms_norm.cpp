// SPDX-License-Identifier: Apache-2.0
#include "ops/rms_norm.hpp"

#include <algorithm>
#include <cmath>

#include "ops/cpu/residual_row.hpp"
#include "ops/cpu/rounded.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

template <typename T>
void normalize_row_by_square(const RmsNorm& norm, const T* x, std::int64_t r, std::int64_t channels) {
  const float* weight = norm.weight.data<float>();
  T* y = row_of<T>(norm.y, r, channels);
  Floats squares{};
  for_vectors(channels, [&](std::int64_t c, auto part) {
    const Floats value = load(x + c, part);
    squares += value * value;
  });
  const float rstd = 1.0F / std::sqrt(sum_of(squares) / static_cast<float>(channels) + norm.epsilon);
  for_vectors(channels, [&](std::int64_t c, auto part) {
    store(y + c, rounded<T>(load(x + c, part) * rstd) * load(weight + c, part), part);
  });
  norm.rstd.data<float>()[r] = rstd;
}

/// The mean over a row's channels of g z; its share of dweight is added to the sums.
template <typename T, typename Gradient>
float mean_of_products(const Gradient* dy, const T* x, const float* weight, float rstd, float* dweight,
                       std::int64_t channels) {
  Floats sum{};
  for_vectors(channels, [&](std::int64_t c, auto part) {
    const Floats slope = load(dy + c, part) * (load(x + c, part) * rstd);
    sum += slope * load(weight + c, part);
    store(dweight + c, load(dweight + c, part) + slope, part);
  });
  return sum_of(sum) / static_cast<float>(channels);
}

template <typename T, typename Gradient>
void rms_gradient_rows(Queue& queue, const RmsNormGradient& arguments) {
  const std::int64_t rows = arguments.x.shape()[0];
  const std::int64_t channels = arguments.x.shape()[1];
  const float* weight = arguments.weight.data<float>();
  // Each piece of rows has its own sums of dweight; they are added in order at the end.
  auto* sums = reinterpret_cast<float*>(queue.workspace(rms_norm_workspace(rows, channels, queue.threads())));
  for_pieces(queue, rows, rows_of_a_column_sum, [&](std::int64_t number, Piece piece) {
    float* dweight = sums + number * channels;
    std::fill_n(dweight, channels, 0.0F);
    for (std::int64_t r = piece.begin; r < piece.end; ++r) {
      const Gradient* dy = row_of<Gradient>(arguments.dy, r, channels);
      const T* x = row_of<T>(arguments.x, r, channels);
      const T* residual_gradient = row_of<T>(arguments.residual_gradient, r, channels);
      T* dx = row_of<T>(arguments.dx, r, channels);
      const float rstd = arguments.rstd.data<float>()[r];
      const float mean = mean_of_products(dy, x, weight, rstd, dweight, channels);
      for_vectors(channels, [&](std::int64_t c, auto part) {
        const Floats g = load(dy + c, part) * load(weight + c, part);
        Floats value = (g - load(x + c, part) * rstd * mean) * rstd;
        if (residual_gradient) value += load(residual_gradient + c, part);
        store(dx + c, value, part);
      });
    }
  });
  add_partial_sums(queue, sums, pieces_of(rows, rows_of_a_column_sum), channels, arguments.dweight.data<float>(),
                   channels, arguments.accumulate);
}

}  // namespace

void rms_norm(Queue& queue, const RmsNorm& arguments) {
  const std::int64_t channels = arguments.x.shape()[1];
  with_type(arguments.x.type(), [&]<typename T>(T) {
    for_rows(queue, arguments.x.shape()[0], [&](std::int64_t r) {
      normalize_row_by_square(arguments, arguments.x.data<T>() + r * channels, r, channels);
    });
  });
}

void residual_rms_norm(Queue& queue, const ResidualRmsNorm& arguments) {
  const TensorView& stream = arguments.residual.out;
  const std::int64_t channels = stream.shape()[1];
  with_type(stream.type(), [&]<typename T>(T) {
    with_type(arguments.residual.branch.type(), [&]<typename Branch>(Branch) {
      for_rows(queue, stream.shape()[0], [&](std::int64_t r) {
        residual_row<T, Branch>(arguments.residual, r, channels);
        normalize_row_by_square(arguments.norm, stream.data<T>() + r * channels, r, channels);
      });
    });
  });
}

void rms_norm_gradient(Queue& queue, const RmsNormGradient& arguments) {
  with_type(arguments.x.type(), [&]<typename T>(T) {
    with_type(arguments.dy.type(),
              [&]<typename Gradient>(Gradient) { rms_gradient_rows<T, Gradient>(queue, arguments); });
  });
}

std::size_t rms_norm_workspace(std::int64_t rows, std::int64_t channels, int) {
  return static_cast<std::size_t>(pieces_of(rows, rows_of_a_column_sum) * channels) * sizeof(float);
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(rms_norm, RmsNorm)
PENSTOCK_OPERATION(residual_rms_norm, ResidualRmsNorm)
PENSTOCK_OPERATION(rms_norm_gradient, RmsNormGradient)
PENSTOCK_FUNCTION(std::size_t, rms_norm_workspace, (std::int64_t rows, std::int64_t channels, int threads),
                  (rows, channels, threads))
