// SPDX-License-Identifier: Apache-2.0
#pragma once
// The text form of measured choices: a line that names the columns, then a line a product, cells between tabs, then
// "end" and how many products there are. It carries the best algorithm of both variants, so that a reader sees what the
// choice was between, and may change it.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "ops/finished_products.hpp"

namespace penstock::ops {

struct MeasuredAlgorithm {
  double microseconds = 0;  ///< of the product with what follows it
  Algorithm algorithm{};
};

/// What was found out about one product. No variant: nothing to choose from, it is made as by default.
struct ProductChoice {
  Product product{};
  std::optional<Variant> variant;
  std::optional<MeasuredAlgorithm> separate;
  std::optional<MeasuredAlgorithm> fused;
  std::size_t line = 0;  ///< of the text it was read from

  const std::optional<MeasuredAlgorithm>& of(Variant which) const { return which == Variant::fused ? fused : separate; }
};

/// Who understands the algorithms.
struct ChoiceOrigin {
  std::string card;
  std::string library;  ///< version
};

/// All of a text.
struct ChoiceTable {
  std::vector<ProductChoice> own;    ///< of one origin
  std::vector<std::string> foreign;  ///< lines of others, as they stand there
};

/// The cells that the line of a product begins with.
std::string choice_name(const ChoiceOrigin& origin, const Product& product);

/// The first line.
std::string choice_columns();

/// Lines of others that a text holds at most; those that lie furthest behind are left out.
inline constexpr std::size_t most_foreign_lines = 1000;

/// The origin's own choices, then the others' lines; empty when there are neither.
std::string text_of(const ChoiceOrigin& origin, const ChoiceTable& table);

/// What a text holds, as this origin sees it; of an empty text nothing. Throws InputError naming the line when it is
/// damaged; lines of others are held to the number of their cells only.
ChoiceTable choices_in(const std::string& text, const ChoiceOrigin& origin);

}  // namespace penstock::ops
