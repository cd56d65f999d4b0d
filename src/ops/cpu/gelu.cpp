// SPDX-License-Identifier: Apache-2.0
#include "ops/gelu.hpp"

#include "ops/cpu/parallel.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

void gelu(Queue& queue, const Gelu& arguments) {
  constexpr std::int64_t elements_of_a_piece = 16384;
  const TensorView &u = arguments.pre_activation, &y = arguments.y;
  ensure(u.elements() == y.elements() && u.type() == y.type(), "gelu: the tensors differ in size or type");
  with_type(u.type(), [&]<typename T>(T) {
    for_pieces(queue, u.elements(), elements_of_a_piece, [&](std::int64_t, Piece piece) {
      const T* from = u.data<T>() + piece.begin;
      T* to = y.data<T>() + piece.begin;
      for_vectors(piece.end - piece.begin,
                  [&](std::int64_t i, auto part) { store(to + i, gelu(load(from + i, part)), part); });
    });
  });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(gelu, Gelu)
