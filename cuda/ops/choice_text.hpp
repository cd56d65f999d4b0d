#pragma once
// The text form of measured choices: a line that names the columns, then a line a product, cells between tabs. It
// carries the best algorithm of both variants, so that a reader sees what the choice was between, and may change it.

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
  int line = 0;  ///< of the text it was read from

  const std::optional<MeasuredAlgorithm>& of(Variant which) const { return which == Variant::fused ? fused : separate; }
};

/// Who understands the algorithms.
struct ChoiceOrigin {
  std::string card;
  std::string library;  ///< version

  bool operator==(const ChoiceOrigin&) const = default;
};

std::string text_of(const ChoiceOrigin& origin, const std::vector<ProductChoice>& choices);

/// The choices of this origin in a text; others are passed over. Throws InputError naming the line when it is damaged.
std::vector<ProductChoice> choices_in(const std::string& text, const ChoiceOrigin& origin);

}  // namespace penstock::ops
