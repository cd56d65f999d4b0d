// SPDX-License-Identifier: Apache-2.0
#include "ops/squared_norm.hpp"

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

void add_squared_norms(std::span<const ops::NormPiece> pieces) {
  for (const ops::NormPiece& piece : pieces) {
    const Values values = read(piece.tensor), addend = read_or_zeros(piece.addend, piece.tensor.elements());
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += (values[i] + addend[i]) * (values[i] + addend[i]);
    *piece.sum.data<double>() += sum;
  }
}

}  // namespace penstock::reference
