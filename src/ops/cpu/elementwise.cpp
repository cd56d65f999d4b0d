// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.hpp"

#include <cstring>

#include "ops/cpu/parallel.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

constexpr std::int64_t elements_of_a_piece = 16384;

}  // namespace

void cast(Queue& queue, TensorView from, TensorView to) {
  ensure(from.elements() == to.elements(), "cast: another number of elements");
  with_type(from.type(), [&]<typename From>(From) {
    with_type(to.type(), [&]<typename To>(To) {
      for_pieces(queue, from.elements(), elements_of_a_piece, [&](std::int64_t, Piece piece) {
        const From* source = from.data<From>() + piece.begin;
        To* target = to.data<To>() + piece.begin;
        const std::int64_t n = piece.end - piece.begin;
        if constexpr (std::is_same_v<From, To>)
          std::memmove(target, source, static_cast<std::size_t>(n) * sizeof(To));
        else
          for_vectors(n, [&](std::int64_t i, auto part) { store(target + i, load(source + i, part), part); });
      });
    });
  });
}

void zero(Queue& queue, TensorView tensor) {
  constexpr std::int64_t bytes_of_a_piece = 1 << 18;
  auto* first = static_cast<std::byte*>(tensor.raw());
  for_pieces(queue, static_cast<std::int64_t>(tensor.bytes()), bytes_of_a_piece, [&](std::int64_t, Piece piece) {
    std::memset(first + piece.begin, 0, static_cast<std::size_t>(piece.end - piece.begin));
  });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_FUNCTION(void, cast, (Queue & queue, TensorView from, TensorView to), (queue, from, to))
PENSTOCK_FUNCTION(void, zero, (Queue & queue, TensorView tensor), (queue, tensor))
