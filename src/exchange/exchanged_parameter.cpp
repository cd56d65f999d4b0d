// SPDX-License-Identifier: Apache-2.0
#include "exchange/exchanged_parameter.hpp"

#include "exchange/family_rules.hpp"

namespace penstock {

std::vector<std::int64_t> ExchangedParameter::stored_shape(const ExchangedPiece& piece) const {
  if (shape.dimensions() == 1) return {piece.rows};
  return piece.transposed ? std::vector{columns(), piece.rows} : std::vector{piece.rows, columns()};
}

std::vector<ExchangedParameter> exchanged_parameters(const HuggingFaceConfig& config, bool prefixed) {
  const FamilyRules& rules = rules_of(config.family);
  return rules.parameters(config, prefixed ? rules.prefix : "");
}

}  // namespace penstock
