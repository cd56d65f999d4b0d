// SPDX-License-Identifier: Apache-2.0
#include "ops/layer_norm.hpp"

#include <cmath>

#include "ops/cpu/residual_row.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

template <typename T>
void normalize_row(const LayerNorm& norm, const T* x, std::int64_t r, std::int64_t channels) {
  const float count = static_cast<float>(channels);
  const float* weight = norm.weight.data<float>();
  const float* bias = norm.bias.data<float>();
  T* y = row_of<T>(norm.y, r, channels);
  Floats sum{};
  for_vectors(channels, [&](std::int64_t c, auto part) { sum += load(x + c, part); });
  const float mean = sum_of(sum) / count;
  Floats squares{};
  for_vectors(channels, [&](std::int64_t c, auto part) {
    const Floats centred = fill_behind(load(x + c, part) - mean, part, 0.0F);
    squares += centred * centred;
  });
  const float rstd = 1.0F / std::sqrt(sum_of(squares) / count + layer_norm_epsilon);
  for_vectors(channels, [&](std::int64_t c, auto part) {
    store(y + c, (load(x + c, part) - mean) * rstd * load(weight + c, part) + load(bias + c, part), part);
  });
  norm.mean.data<float>()[r] = mean;
  norm.rstd.data<float>()[r] = rstd;
}

/// Values of a whole row that its gradient needs: the means over its channels of g = dy * weight and of g * x_hat.
struct RowMeans {
  float g;
  float g_x_hat;
};

/// Means of a row; its share of dweight and dbias is added to the sums.
template <typename T, typename Gradient>
RowMeans gradient_means(const Gradient* dy, const T* x, const float* weight, float mean, float rstd, float* dweight,
                        float* dbias, std::int64_t channels) {
  Floats sum_g{};
  Floats sum_g_x_hat{};
  for_vectors(channels, [&](std::int64_t c, auto part) {
    const Floats slope = load(dy + c, part);
    const Floats x_hat = (load(x + c, part) - mean) * rstd;
    const Floats g = slope * load(weight + c, part);
    sum_g += g;
    sum_g_x_hat += g * x_hat;
    store(dweight + c, load(dweight + c, part) + slope * x_hat, part);
    store(dbias + c, load(dbias + c, part) + slope, part);
  });
  const float count = static_cast<float>(channels);
  return {sum_of(sum_g) / count, sum_of(sum_g_x_hat) / count};
}

/// dx = residual gradient + rstd * (g - mean of g - x_hat * mean of g x_hat).
template <typename T, typename Gradient>
void input_gradient(const Gradient* dy, const T* x, const float* weight, float mean, float rstd, RowMeans means,
                    const T* residual_gradient, T* dx, std::int64_t channels) {
  for_vectors(channels, [&](std::int64_t c, auto part) {
    const Floats x_hat = (load(x + c, part) - mean) * rstd;
    Floats value = (load(dy + c, part) * load(weight + c, part) - means.g - x_hat * means.g_x_hat) * rstd;
    if (residual_gradient) value += load(residual_gradient + c, part);
    store(dx + c, value, part);
  });
}

template <typename T, typename Gradient>
void gradient_rows(Queue& queue, const LayerNormGradient& arguments) {
  const std::int64_t rows = arguments.x.shape()[0];
  const std::int64_t channels = arguments.x.shape()[1];
  const std::int64_t pieces = pieces_of(rows, rows_of_a_column_sum);
  const float* weight = arguments.weight.data<float>();
  // Each piece of rows has its own sums of dweight and dbias; they are added in order at the end.
  auto* sums = reinterpret_cast<float*>(queue.workspace(layer_norm_workspace(rows, channels, queue.threads())));
  for_pieces(queue, rows, rows_of_a_column_sum, [&](std::int64_t number, Piece piece) {
    float* dweight = sums + number * 2 * channels;
    std::fill_n(dweight, 2 * channels, 0.0F);
    for (std::int64_t r = piece.begin; r < piece.end; ++r) {
      const Gradient* dy = row_of<Gradient>(arguments.dy, r, channels);
      const T* x = row_of<T>(arguments.x, r, channels);
      const float mean = arguments.mean.data<float>()[r];
      const float rstd = arguments.rstd.data<float>()[r];
      const RowMeans means = gradient_means(dy, x, weight, mean, rstd, dweight, dweight + channels, channels);
      input_gradient(dy, x, weight, mean, rstd, means, row_of<T>(arguments.residual_gradient, r, channels),
                     row_of<T>(arguments.dx, r, channels), channels);
    }
  });
  add_partial_sums(queue, sums, pieces, 2 * channels, arguments.dweight.data<float>(), channels, arguments.accumulate);
  add_partial_sums(queue, sums + channels, pieces, 2 * channels, arguments.dbias.data<float>(), channels,
                   arguments.accumulate);
}

}  // namespace

void layer_norm(Queue& queue, const LayerNorm& arguments) {
  const std::int64_t channels = arguments.x.shape()[1];
  with_type(arguments.x.type(), [&]<typename T>(T) {
    for_rows(queue, arguments.x.shape()[0],
             [&](std::int64_t r) { normalize_row(arguments, arguments.x.data<T>() + r * channels, r, channels); });
  });
}

void residual(Queue& queue, const Residual& arguments) {
  const std::int64_t channels = arguments.out.shape()[1];
  with_type(arguments.out.type(), [&]<typename T>(T) {
    with_type(arguments.branch.type(), [&]<typename Branch>(Branch) {
      for_rows(queue, arguments.out.shape()[0],
               [&](std::int64_t r) { residual_row<T, Branch>(arguments, r, channels); });
    });
  });
}

void residual_layer_norm(Queue& queue, const ResidualLayerNorm& arguments) {
  const TensorView& stream = arguments.residual.out;
  const std::int64_t channels = stream.shape()[1];
  with_type(stream.type(), [&]<typename T>(T) {
    with_type(arguments.residual.branch.type(), [&]<typename Branch>(Branch) {
      for_rows(queue, stream.shape()[0], [&](std::int64_t r) {
        residual_row<T, Branch>(arguments.residual, r, channels);
        normalize_row(arguments.norm, stream.data<T>() + r * channels, r, channels);
      });
    });
  });
}

void layer_norm_gradient(Queue& queue, const LayerNormGradient& arguments) {
  with_type(arguments.x.type(), [&]<typename T>(T) {
    with_type(arguments.dy.type(), [&]<typename Gradient>(Gradient) { gradient_rows<T, Gradient>(queue, arguments); });
  });
}

void dropout_gradient(Queue& queue, const DropoutGradient& arguments) {
  const std::int64_t channels = arguments.dout.shape()[1];
  ensure(arguments.dbranch.type() == arguments.dout.type(), "dropout_gradient: dbranch and dout differ in type");
  with_type(arguments.dout.type(), [&]<typename T>(T) {
    for_rows(queue, arguments.dout.shape()[0], [&](std::int64_t r) {
      const T* dout = row_of<T>(arguments.dout, r, channels);
      T* dbranch = row_of<T>(arguments.dbranch, r, channels);
      const auto multiply_row = [&](auto factors) {
        for_vectors(channels,
                    [&](std::int64_t c, auto part) { store(dbranch + c, load(dout + c, part) * factors.at(c), part); });
      };
      if (arguments.dropout.active())
        multiply_row(DropoutRow(arguments.dropout, arguments.rows.sample(r), arguments.rows.position(r)));
      else
        multiply_row(NoDropoutRow{});
    });
  });
}

std::size_t layer_norm_workspace(std::int64_t rows, std::int64_t channels, int) {
  return static_cast<std::size_t>(pieces_of(rows, rows_of_a_column_sum) * 2 * channels) * sizeof(float);
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(layer_norm, LayerNorm)
PENSTOCK_OPERATION(residual, Residual)
PENSTOCK_OPERATION(residual_layer_norm, ResidualLayerNorm)
PENSTOCK_OPERATION(layer_norm_gradient, LayerNormGradient)
PENSTOCK_OPERATION(dropout_gradient, DropoutGradient)
PENSTOCK_FUNCTION(std::size_t, layer_norm_workspace, (std::int64_t rows, std::int64_t channels, int threads),
                  (rows, channels, threads))
