// SPDX-License-Identifier: Apache-2.0
#include "ops/rotate.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/parallel.hpp"
#include "ops/cpu/rounded.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

/// Two halves of a head, or of its gradient: some neighbours of each.
struct Halves {
  Floats low;
  Floats high;
};

template <typename T, typename Part>
PENSTOCK_INLINE Halves load_halves(const T* head, std::int64_t half, std::int64_t c, Part part) {
  return {load(head + c, part), load(head + half + c, part)};
}
template <typename T, typename Part>
PENSTOCK_INLINE void store_halves(T* head, std::int64_t half, std::int64_t c, Halves values, Part part) {
  store(head + c, values.low, part);
  store(head + half + c, values.high, part);
}

/// Rotates by the angles whose cosines (low) and sines (high) are in a row of the table, forwards and backwards.
PENSTOCK_INLINE Halves turned(Halves x, Halves angles) {
  return {x.low * angles.low - x.high * angles.high, x.high * angles.low + x.low * angles.high};
}
PENSTOCK_INLINE Halves turned_back(Halves x, Halves angles) {
  return {x.low * angles.low + x.high * angles.high, x.high * angles.low - x.low * angles.high};
}

template <typename T>
float reciprocal_root(const T* x, std::int64_t channels, float epsilon) {
  Floats squares{};
  for_vectors(channels, [&](std::int64_t c, auto part) {
    const Floats value = load(x + c, part);
    squares += value * value;
  });
  return 1.0F / std::sqrt(sum_of(squares) / static_cast<float>(channels) + epsilon);
}

/// `weight` is null if the head has no norm.
template <typename T>
void rotate_head(const T* x, const float* angles, const float* weight, float rstd, T* y, std::int64_t half) {
  for_vectors(half, [&](std::int64_t c, auto part) {
    Halves values = load_halves(x, half, c, part);
    if (weight) {
      const Halves factors = load_halves(weight, half, c, part);
      values = {rounded<T>(values.low * rstd) * factors.low, rounded<T>(values.high * rstd) * factors.high};
    }
    store_halves(y, half, c, turned(values, load_halves(angles, half, c, part)), part);
  });
}

template <typename T>
void rotate_head_back(const T* dy, const float* angles, T* dx, std::int64_t half) {
  for_vectors(half, [&](std::int64_t c, auto part) {
    store_halves(dx, half, c, turned_back(load_halves(dy, half, c, part), load_halves(angles, half, c, part)), part);
  });
}

/// The same through the norm; the head's share of the weight's gradient is added to dweight.
template <typename T>
void differentiate_head(const T* dy, const float* angles, const T* x, const float* weight, float rstd, T* dx,
                        float* dweight, std::int64_t half) {
  Floats sum{};
  for_vectors(half, [&](std::int64_t c, auto part) {
    const Halves dn = turned_back(load_halves(dy, half, c, part), load_halves(angles, half, c, part));
    const Halves values = load_halves(x, half, c, part);
    const Halves slope{dn.low * (values.low * rstd), dn.high * (values.high * rstd)};
    const Halves factors = load_halves(weight, half, c, part);
    const Halves before = load_halves(dweight, half, c, part);
    sum += slope.low * factors.low + slope.high * factors.high;
    store_halves(dweight, half, c, {before.low + slope.low, before.high + slope.high}, part);
  });
  const float mean = sum_of(sum) / static_cast<float>(2 * half);
  for_vectors(half, [&](std::int64_t c, auto part) {
    const Halves dn = turned_back(load_halves(dy, half, c, part), load_halves(angles, half, c, part));
    const Halves values = load_halves(x, half, c, part);
    const Halves factors = load_halves(weight, half, c, part);
    store_halves(dx, half, c,
                 {(dn.low * factors.low - values.low * rstd * mean) * rstd,
                  (dn.high * factors.high - values.high * rstd * mean) * rstd},
                 part);
  });
}

/// Copies v of a row, unless it is in its place already.
template <typename T>
void copy_values(const AttentionShape& shape, const T* from, T* to) {
  const std::int64_t first = (shape.heads + shape.key_heads()) * shape.channels;
  if (from != to)
    std::memcpy(to + first, from + first, static_cast<std::size_t>(shape.packed_width() - first) * sizeof(T));
}

constexpr std::int64_t rows_of_a_weight_sum = 64;

template <typename T>
void rotate_gradient_rows(Queue& queue, const RotateGradient& arguments) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t rows = arguments.dout.shape()[0];
  const std::int64_t channels = shape.channels;
  const std::int64_t turned_heads = shape.heads + shape.key_heads();
  const bool norms = arguments.query_norm.present();
  // Each piece of rows has its own sums of the two weights' gradients; they are added in order at the end.
  float* sums = nullptr;
  if (norms) sums = reinterpret_cast<float*>(queue.workspace(rotate_workspace(rows, channels, queue.threads())));
  for_pieces(queue, rows, rows_of_a_weight_sum, [&](std::int64_t number, Piece piece) {
    float* dweights = norms ? sums + number * 2 * channels : nullptr;
    if (norms) std::fill_n(dweights, 2 * channels, 0.0F);
    for (std::int64_t r = piece.begin; r < piece.end; ++r) {
      const T* dy = arguments.dout.data<T>() + r * shape.packed_width();
      T* dx = arguments.dqkv.data<T>() + r * shape.packed_width();
      const float* angles = arguments.table.data<float>() + r % shape.sequence * channels;
      copy_values(shape, dy, dx);
      for (std::int64_t h = 0; h < turned_heads; ++h) {
        const std::int64_t first = h * channels;
        if (!norms) {
          rotate_head_back(dy + first, angles, dx + first, channels / 2);
          continue;
        }
        const bool query = h < shape.heads;
        const T* x = arguments.qkv.data<T>() + r * shape.packed_width() + first;
        differentiate_head(dy + first, angles, x, (query ? arguments.query_norm : arguments.key_norm).data<float>(),
                           arguments.rstd.data<float>()[r * turned_heads + h], dx + first,
                           query ? dweights : dweights + channels, channels / 2);
      }
    }
  });
  if (!norms) return;
  const std::int64_t pieces = pieces_of(rows, rows_of_a_weight_sum);
  add_partial_sums(queue, sums, pieces, 2 * channels, arguments.dquery_norm.data<float>(), channels,
                   arguments.accumulate);
  add_partial_sums(queue, sums + channels, pieces, 2 * channels, arguments.dkey_norm.data<float>(), channels,
                   arguments.accumulate);
}

}  // namespace

void rotate(Queue& queue, const Rotate& arguments) {
  check_rotation(arguments);
  const AttentionShape& shape = arguments.shape;
  const std::int64_t channels = shape.channels;
  const std::int64_t turned_heads = shape.heads + shape.key_heads();
  with_type(arguments.qkv.type(), [&]<typename T>(T) {
    for_rows(queue, arguments.qkv.shape()[0], [&](std::int64_t r) {
      const T* x = arguments.qkv.data<T>() + r * shape.packed_width();
      T* y = arguments.out.data<T>() + r * shape.packed_width();
      const float* angles = arguments.table.data<float>() + r % shape.sequence * channels;
      copy_values(shape, x, y);
      for (std::int64_t h = 0; h < turned_heads; ++h) {
        const TensorView& norm = h < shape.heads ? arguments.query_norm : arguments.key_norm;
        float rstd = 1;
        if (norm.present()) {
          rstd = reciprocal_root(x + h * channels, channels, arguments.epsilon);
          arguments.rstd.data<float>()[r * turned_heads + h] = rstd;
        }
        rotate_head(x + h * channels, angles, norm.present() ? norm.data<float>() : nullptr, rstd, y + h * channels,
                    channels / 2);
      }
    });
  });
}

void rotate_gradient(Queue& queue, const RotateGradient& arguments) {
  check_rotation(arguments);
  with_type(arguments.dout.type(), [&]<typename T>(T) { rotate_gradient_rows<T>(queue, arguments); });
}

std::size_t rotate_workspace(std::int64_t rows, std::int64_t channels, int) {
  return static_cast<std::size_t>(pieces_of(rows, rows_of_a_weight_sum) * 2 * channels) * sizeof(float);
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(rotate, Rotate)
PENSTOCK_OPERATION(rotate_gradient, RotateGradient)
PENSTOCK_FUNCTION(std::size_t, rotate_workspace, (std::int64_t rows, std::int64_t channels, int threads),
                  (rows, channels, threads))
