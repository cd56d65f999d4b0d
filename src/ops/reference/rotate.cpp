// SPDX-License-Identifier: Apache-2.0
#include "ops/rotate.hpp"

#include <cmath>

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {
namespace {

// Calls act(row, head among q's and k's, where its channels begin, where its position's angles begin).
template <typename Act>
void for_each_rotated_head(const ops::AttentionShape& shape, std::int64_t rows, Act&& act) {
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t head = 0; head < shape.heads + shape.key_heads(); ++head)
      act(row, head, row * shape.packed_width() + head * shape.channels, row % shape.sequence * shape.channels);
}

}  // namespace

void rotate(const ops::Rotate& arguments) {
  const ops::AttentionShape& shape = arguments.shape;
  const std::int64_t N = arguments.qkv.shape()[0], D = shape.channels, turned = shape.heads + shape.key_heads();
  const bool norms = arguments.query_norm.present();
  const Values qkv = read(arguments.qkv), table = read(arguments.table);
  const Values query_norm = read_or_zeros(arguments.query_norm, D), key_norm = read_or_zeros(arguments.key_norm, D);
  Values out = qkv, rstd(at(N * turned));
  for_each_rotated_head(shape, N, [&](std::int64_t row, std::int64_t head, std::int64_t first, std::int64_t angles) {
    Values n(at(D));
    double squares = 0;
    for (std::int64_t c = 0; c < D; ++c) n[at(c)] = qkv[at(first + c)], squares += n[at(c)] * n[at(c)];
    if (norms) {
      const double factor = 1 / std::sqrt(squares / static_cast<double>(D) + static_cast<double>(arguments.epsilon));
      const Values& weight = head < shape.heads ? query_norm : key_norm;
      for (std::int64_t c = 0; c < D; ++c)
        n[at(c)] = rounded_to(arguments.out.type(), n[at(c)] * factor) * weight[at(c)];
      rstd[at(row * turned + head)] = factor;
    }
    for (std::int64_t c = 0; c < D / 2; ++c) {
      const double cosine = table[at(angles + c)], sine = table[at(angles + D / 2 + c)];
      out[at(first + c)] = n[at(c)] * cosine - n[at(D / 2 + c)] * sine;
      out[at(first + D / 2 + c)] = n[at(D / 2 + c)] * cosine + n[at(c)] * sine;
    }
  });
  write(arguments.out, out);
  if (norms) write(arguments.rstd, rstd);
}

void rotate_gradient(const ops::RotateGradient& arguments) {
  const ops::AttentionShape& shape = arguments.shape;
  const std::int64_t N = arguments.dout.shape()[0], D = shape.channels, turned = shape.heads + shape.key_heads();
  const bool norms = arguments.query_norm.present();
  const Values dout = read(arguments.dout), table = read(arguments.table);
  Values dqkv = dout;
  for_each_rotated_head(shape, N, [&](std::int64_t, std::int64_t, std::int64_t first, std::int64_t angles) {
    for (std::int64_t c = 0; c < D / 2; ++c) {
      const double cosine = table[at(angles + c)], sine = table[at(angles + D / 2 + c)];
      const double low = dout[at(first + c)], high = dout[at(first + D / 2 + c)];
      dqkv[at(first + c)] = low * cosine + high * sine;
      dqkv[at(first + D / 2 + c)] = high * cosine - low * sine;
    }
  });
  if (norms) {
    const Values qkv = read(arguments.qkv), rstd = read(arguments.rstd);
    const Values query_norm = read(arguments.query_norm), key_norm = read(arguments.key_norm);
    Values dquery_norm(at(D)), dkey_norm(at(D));
    if (arguments.accumulate) dquery_norm = read(arguments.dquery_norm), dkey_norm = read(arguments.dkey_norm);
    for_each_rotated_head(shape, N, [&](std::int64_t row, std::int64_t head, std::int64_t first, std::int64_t) {
      const Values& weight = head < shape.heads ? query_norm : key_norm;
      Values& dweight = head < shape.heads ? dquery_norm : dkey_norm;
      const double factor = rstd[at(row * turned + head)];
      double sum = 0;  // of g z
      for (std::int64_t c = 0; c < D; ++c) {
        const double slope = dqkv[at(first + c)] * qkv[at(first + c)] * factor;
        dweight[at(c)] += slope;
        sum += slope * weight[at(c)];
      }
      for (std::int64_t c = 0; c < D; ++c)
        dqkv[at(first + c)] =
            factor * (dqkv[at(first + c)] * weight[at(c)] - qkv[at(first + c)] * factor * sum / static_cast<double>(D));
    });
    write(arguments.dquery_norm, dquery_norm);
    write(arguments.dkey_norm, dkey_norm);
  }
  write(arguments.dqkv, dqkv);
}

}  // namespace penstock::reference
