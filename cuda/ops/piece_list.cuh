#pragma once
// Kernels over a list of pieces: a piece's blocks are numbered on from those of the piece before, in `first_block`.

#include <cstdint>

namespace penstock::ops {

/// The piece that a block belongs to: the last one whose first block is not behind it.
template <typename Piece>
__device__ int piece_of_block(const Piece* pieces, int count, int block) {
  int piece = 0, behind = count;
  while (behind - piece > 1) {
    const int middle = (piece + behind) / 2;
    if (pieces[middle].first_block <= block)
      piece = middle;
    else
      behind = middle;
  }
  return piece;
}

}  // namespace penstock::ops
