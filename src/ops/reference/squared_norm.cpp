#include "ops/squared_norm.hpp"

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

void add_squared_norms(std::span<const ops::NormPiece> pieces) {
  for (const ops::NormPiece& piece : pieces) {
    double sum = 0;
    for (const double value : read(piece.tensor)) sum += value * value;
    *piece.sum.data<double>() += sum;
  }
}

}  // namespace penstock::reference
