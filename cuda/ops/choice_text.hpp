// SPDX-License-Identifier: Apache-2.0
#pragma once
// The text form of measured choices: a line with the column names, then one line for each product, with cells between
// tabs, then "end" and the number of products. It contains the best algorithm of both variants, so that a reader sees
// the alternatives and may change the choice.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "ops/finished_products.hpp"

namespace penstock::ops {

struct MeasuredAlgorithm {
  double microseconds = 0;  ///< of the product and what follows it
  Algorithm algorithm{};
};

/// The result for one product. No variant: there was no choice, and the default is used.
struct ProductChoice {
  Product product{};
  std::optional<Variant> variant;
  std::optional<MeasuredAlgorithm> separate;
  std::optional<MeasuredAlgorithm> fused;
  std::size_t line = 0;  ///< of the text it was read from

  const std::optional<MeasuredAlgorithm>& of(Variant which) const { return which == Variant::fused ? fused : separate; }
};

/// The card and library that understand the algorithms.
struct ChoiceOrigin {
  std::string card;
  std::string library;  ///< version
};

/// All of a text.
struct ChoiceTable {
  std::vector<ProductChoice> own;    ///< of one origin
  std::vector<std::string> foreign;  ///< lines of others, unchanged
};

/// The cells that the line of a product begins with.
std::string choice_name(const ChoiceOrigin& origin, const Product& product);

/// The first line.
std::string choice_columns();

/// The most lines of others that a text may hold; the last ones are dropped.
inline constexpr std::size_t most_foreign_lines = 1000;

/// The origin's own choices, then the others' lines; empty when there are neither.
std::string text_of(const ChoiceOrigin& origin, const ChoiceTable& table);

/// Reads a text for this origin; an empty text gives nothing. Throws InputError naming the line if it is damaged; of
/// other origins' lines only the number of cells is checked.
ChoiceTable choices_in(const std::string& text, const ChoiceOrigin& origin);

}  // namespace penstock::ops
