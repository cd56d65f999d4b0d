// SPDX-License-Identifier: Apache-2.0
#include "exchange/box_pieces.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace penstock {

std::vector<BoxPiece> pieces_of_box(const ExchangedParameter& parameter, const Box& box) {
  const bool matrix = parameter.shape.dimensions() == 2;
  ensure(box.extent.dimensions() == parameter.shape.dimensions(), "pieces_of_box: a box of the parameter's dimensions");
  const std::int64_t first = box.offset[0], end = first + box.extent[0];
  const std::int64_t column = matrix ? box.offset[1] : 0, columns = matrix ? box.extent[1] : 1;
  ensure(first >= 0 && end <= parameter.shape[0] && column >= 0 && column + columns <= parameter.columns(),
         "pieces_of_box: a box inside the parameter");
  std::vector<BoxPiece> parts;
  for (std::size_t i = 0; i < parameter.pieces.size(); ++i) {
    const ExchangedPiece& piece = parameter.pieces[i];
    const std::int64_t begin = std::max(first, piece.first_row), stop = std::min(end, piece.first_row + piece.rows);
    if (begin >= stop || columns == 0) continue;
    MatrixPart part{
        .first_row = begin - piece.first_row, .first_column = column, .rows = stop - begin, .columns = columns};
    if (piece.transposed) {
      std::swap(part.first_row, part.first_column);
      std::swap(part.rows, part.columns);
    }
    parts.push_back({.piece = i, .stored = part, .first = (begin - first) * columns, .stride = columns});
  }
  return parts;
}

}  // namespace penstock
