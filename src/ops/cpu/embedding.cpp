// SPDX-License-Identifier: Apache-2.0
#include "ops/embedding.hpp"

#include <cstring>

#include "ops/cpu/dropout_mask.hpp"
#include "ops/cpu/parallel.hpp"
#include "ops/cpu/width.hpp"
#include "ops/elementwise.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

/// Channels that one thread adds up for all tokens, so that each row of the table is summed in the order of the tokens.
constexpr std::int64_t channels_of_a_piece = 4 * lanes;

/// Calls f(c, lanes) over the vectors of channels [piece.begin, piece.end).
template <typename F>
PENSTOCK_INLINE void for_channels(Piece piece, F&& f) {
  for_vectors(piece.end - piece.begin, [&](std::int64_t c, auto part) { f(piece.begin + c, part); });
}

template <typename Row, typename T>
void add_position(Row factors, const T* token, const float* weight, T* out, std::int64_t channels) {
  for_vectors(channels, [&](std::int64_t c, auto part) {
    store(out + c, (load(token + c, part) + load(weight + c, part)) * factors.at(c), part);
  });
}

template <typename Row, typename T>
void multiply_row(Row factors, const T* from, T* to, std::int64_t channels) {
  for_vectors(channels, [&](std::int64_t c, auto part) { store(to + c, load(from + c, part) * factors.at(c), part); });
}

}  // namespace

void embedding(Queue& queue, const Embedding& arguments) {
  const std::int64_t channels = arguments.weight.shape()[1];
  const std::int64_t rows_here = arguments.weight.shape()[0];
  const auto* tokens = arguments.tokens.data<std::int32_t>();
  ensure(arguments.out.type() == arguments.weight.type(), "embedding: out and weight differ in type");
  with_type(arguments.weight.type(), [&]<typename T>(T) {
    for_rows(queue, arguments.tokens.elements(), [&](std::int64_t n) {
      T* to = arguments.out.data<T>() + n * channels;
      const std::int64_t row = tokens[n] - arguments.first_token;
      const auto bytes = static_cast<std::size_t>(channels) * sizeof(T);
      if (row >= 0 && row < rows_here)
        std::memcpy(to, arguments.weight.data<T>() + row * channels, bytes);
      else
        std::memset(static_cast<void*>(to), 0, bytes);
    });
  });
}

void embedding_gradient(Queue& queue, const EmbeddingGradient& arguments) {
  const std::int64_t channels = arguments.dweight.shape()[1];
  const std::int64_t rows_here = arguments.dweight.shape()[0];
  const std::int64_t tokens_here = arguments.tokens.elements();
  const auto* tokens = arguments.tokens.data<std::int32_t>();
  float* dweight = arguments.dweight.data<float>();
  if (!arguments.accumulate) zero(queue, arguments.dweight);
  with_type(arguments.dout.type(), [&]<typename T>(T) {
    const T* dout = arguments.dout.data<T>();
    for_pieces(queue, channels, channels_of_a_piece, [&](std::int64_t, Piece piece) {
      for (std::int64_t n = 0; n < tokens_here; ++n) {
        const std::int64_t row = tokens[n] - arguments.first_token;
        if (row < 0 || row >= rows_here) continue;
        for_channels(piece, [&](std::int64_t c, auto part) {
          float* to = dweight + row * channels + c;
          store(to, load(to, part) + load(dout + n * channels + c, part), part);
        });
      }
    });
  });
}

void position_embedding(Queue& queue, const PositionEmbedding& arguments) {
  const std::int64_t channels = arguments.weight.shape()[1];
  ensure(arguments.out.type() == arguments.token.type(), "position_embedding: out and token differ in type");
  with_type(arguments.token.type(), [&]<typename T>(T) {
    for_rows(queue, arguments.token.shape()[0], [&](std::int64_t r) {
      const std::int64_t position = arguments.rows.position(r);
      const T* token = arguments.token.data<T>() + r * channels;
      const float* weight = arguments.weight.data<float>() + position * channels;
      T* out = arguments.out.data<T>() + r * channels;
      if (arguments.dropout.active())
        add_position(DropoutRow(arguments.dropout, arguments.rows.sample(r), position), token, weight, out, channels);
      else
        add_position(NoDropoutRow{}, token, weight, out, channels);
    });
  });
}

void position_embedding_gradient(Queue& queue, const PositionEmbeddingGradient& arguments) {
  const std::int64_t channels = arguments.dweight.shape()[1];
  const std::int64_t rows = arguments.dout.shape()[0];
  ensure(arguments.dtoken.type() == arguments.dout.type(),
         "position_embedding_gradient: dtoken and dout differ in type");
  if (!arguments.accumulate) zero(queue, arguments.dweight);
  with_type(arguments.dout.type(), [&]<typename T>(T) {
    T* dtoken = arguments.dtoken.data<T>();
    for_rows(queue, rows, [&](std::int64_t r) {
      const T* dout = arguments.dout.data<T>() + r * channels;
      if (arguments.dropout.active())
        multiply_row(DropoutRow(arguments.dropout, arguments.rows.sample(r), arguments.rows.position(r)), dout,
                     dtoken + r * channels, channels);
      else
        multiply_row(NoDropoutRow{}, dout, dtoken + r * channels, channels);
    });
    for_pieces(queue, channels, channels_of_a_piece, [&](std::int64_t, Piece piece) {
      for (std::int64_t r = 0; r < rows; ++r)
        for_channels(piece, [&](std::int64_t c, auto part) {
          float* to = arguments.dweight.data<float>() + arguments.rows.position(r) * channels + c;
          store(to, load(to, part) + load(dtoken + r * channels + c, part), part);
        });
    });
  });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(embedding, Embedding)
PENSTOCK_OPERATION(embedding_gradient, EmbeddingGradient)
PENSTOCK_OPERATION(position_embedding, PositionEmbedding)
PENSTOCK_OPERATION(position_embedding_gradient, PositionEmbeddingGradient)
