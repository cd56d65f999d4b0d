// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tensors of a Hugging Face directory that make up each parameter of Penstock: one table for each family, for both
// directions.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "exchange/hugging_face_config.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// Whole rows of a parameter that are one tensor of the directory.
struct ExchangedPiece {
  std::string tensor;          ///< its name in the directory
  std::int64_t first_row = 0;  ///< of the parameter
  std::int64_t rows = 0;
  bool transposed = false;  ///< the tensor is [columns, rows]: GPT-2 stores [in, out]

  bool operator==(const ExchangedPiece&) const = default;
};

/// A parameter, and all its rows in pieces, from the first to the last. A parameter of one dimension is a column.
struct ExchangedParameter {
  std::string name;  ///< Penstock's
  Shape shape;       ///< global
  std::vector<ExchangedPiece> pieces;

  std::int64_t columns() const { return shape.dimensions() == 2 ? shape[1] : 1; }
  /// The shape of a piece in the directory.
  std::vector<std::int64_t> stored_shape(const ExchangedPiece& piece) const;
};

/// All parameters of the model, in Penstock's order. `prefixed`: most directories put "model." or "transformer." before
/// the names of all tensors but the head's, and some do not.
std::vector<ExchangedParameter> exchanged_parameters(const HuggingFaceConfig& config, bool prefixed = true);

}  // namespace penstock
