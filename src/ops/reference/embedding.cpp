// SPDX-License-Identifier: Apache-2.0
#include "ops/embedding.hpp"

#include <optional>

#include "ops/reference/dropout_factor.hpp"
#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {
namespace {

// The row of this rank's token table, or nothing if another rank holds the token.
std::optional<std::int64_t> local_row(const TensorView& tokens, std::int64_t n, std::int64_t first_token,
                                      const TensorView& table) {
  const std::int64_t row = tokens.data<std::int32_t>()[n] - first_token;
  if (row < 0 || row >= table.shape()[0]) return std::nullopt;
  return row;
}

}  // namespace

void embedding(const ops::Embedding& arguments) {
  const std::int64_t N = arguments.tokens.elements(), C = arguments.weight.shape()[1];
  const Values weight = read(arguments.weight);
  Values out(at(N * C));
  for (std::int64_t n = 0; n < N; ++n)
    if (const auto row = local_row(arguments.tokens, n, arguments.first_token, arguments.weight))
      for (std::int64_t c = 0; c < C; ++c) out[at(n, c, C)] = weight[at(*row, c, C)];
  write(arguments.out, out);
}

void embedding_gradient(const ops::EmbeddingGradient& arguments) {
  const std::int64_t N = arguments.tokens.elements(), C = arguments.dweight.shape()[1];
  const Values dout = read(arguments.dout);
  Values dweight = arguments.accumulate ? read(arguments.dweight) : Values(at(arguments.dweight.elements()));
  for (std::int64_t n = 0; n < N; ++n)
    if (const auto row = local_row(arguments.tokens, n, arguments.first_token, arguments.dweight))
      for (std::int64_t c = 0; c < C; ++c) dweight[at(*row, c, C)] += dout[at(n, c, C)];
  write(arguments.dweight, dweight);
}

void position_embedding(const ops::PositionEmbedding& arguments) {
  const std::int64_t R = arguments.token.shape()[0], C = arguments.token.shape()[1];
  const Values token = read(arguments.token), weight = read(arguments.weight);
  Values out(at(R * C));
  for (std::int64_t r = 0; r < R; ++r)
    for (std::int64_t c = 0; c < C; ++c)
      out[at(r, c, C)] = (token[at(r, c, C)] + weight[at(arguments.rows.position(r), c, C)]) *
                         dropout_factor(arguments.dropout, arguments.rows, r, c);
  write(arguments.out, out);
}

void position_embedding_gradient(const ops::PositionEmbeddingGradient& arguments) {
  const std::int64_t R = arguments.dout.shape()[0], C = arguments.dout.shape()[1];
  Values dtoken = read(arguments.dout);
  Values dweight = arguments.accumulate ? read(arguments.dweight) : Values(at(arguments.dweight.elements()));
  for (std::int64_t r = 0; r < R; ++r)
    for (std::int64_t c = 0; c < C; ++c) {
      dtoken[at(r, c, C)] *= dropout_factor(arguments.dropout, arguments.rows, r, c);
      dweight[at(arguments.rows.position(r), c, C)] += dtoken[at(r, c, C)];
    }
  write(arguments.dtoken, dtoken);
  write(arguments.dweight, dweight);
}

}  // namespace penstock::reference
