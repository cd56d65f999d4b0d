// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "exchange/exchanged_parameter.hpp"
#include "exchange/safetensors_file.hpp"
#include "parameter/box.hpp"

namespace penstock {

/// The part of a parameter's box that one tensor of a directory holds.
struct BoxPiece {
  std::size_t piece = 0;    ///< index into the parameter's pieces
  MatrixPart stored;        ///< of the stored tensor
  std::int64_t first = 0;   ///< the box's element that is the part's first one; the box is dense
  std::int64_t stride = 0;  ///< of the box's rows
};

/// Cuts a box by the pieces of its parameter; LogicError if it is not inside the parameter.
std::vector<BoxPiece> pieces_of_box(const ExchangedParameter& parameter, const Box& box);

}  // namespace penstock
