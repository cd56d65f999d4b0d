// SPDX-License-Identifier: Apache-2.0
#include "ops/choice_text.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "ops/linear_choices.hpp"

namespace penstock::ops {
namespace {

constexpr std::array<std::string_view, 15> columns{
    "card",     "cublaslt",     "m",     "n",           "k", "a b", "type", "result", "sum", "epilogue", "way",
    "separate", "microseconds", "fused", "microseconds"};

constexpr std::array<std::string_view, 5> epilogue_names{"none", "bias", "gelu", "bias+gelu", "slope"};
constexpr std::array<std::string_view, 2> variant_names{"separate", "fused"};
constexpr std::string_view nothing = "-";
constexpr std::string_view cure = "delete the file, and they are measured again";

// ---- Writing ------------------------------------------------------------------------------------------------------

std::string hexadecimal(const Algorithm& algorithm) {
  std::string text;
  for (const std::uint64_t word : algorithm) text += fmt::format("{:016x}", word);
  return text;
}

std::vector<std::string> cells_of(const std::optional<MeasuredAlgorithm>& measured) {
  if (!measured) return {std::string(nothing), std::string(nothing)};
  return {hexadecimal(measured->algorithm), fmt::format("{:.2f}", measured->microseconds)};
}

std::string line_of(const ChoiceOrigin& origin, const ProductChoice& choice) {
  const std::string_view way =
      choice.variant ? variant_names[static_cast<std::size_t>(*choice.variant)] : default_choice;
  const std::vector<std::string> separate = cells_of(choice.separate), fused = cells_of(choice.fused);
  return fmt::format("{}\t{}\t{}\t{}\n", choice_name(origin, choice.product), way, fmt::join(separate, "\t"),
                     fmt::join(fused, "\t"));
}

std::string footer(std::size_t products) { return fmt::format("{}\t{}", end_of_choices, products); }

// ---- Reading ------------------------------------------------------------------------------------------------------

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

[[noreturn]] void fail_at_line(std::size_t number, std::string_view what) {
  throw_input_error("line {} of the choices of matrix products is damaged: {}; {}", number, what, cure);
}

/// One line being read; errors name its number.
class LineReader {
 public:
  LineReader(std::string_view line, std::size_t number) : cells_(split(line, '\t')), number_(number) {
    if (cells_.size() != columns.size())
      fail(fmt::format("it has {} cells, not the {} of the line that names them", cells_.size(), columns.size()));
  }

  std::string_view cell(std::size_t column) const { return cells_[column]; }

  std::int64_t size(std::size_t column) const {
    const std::int64_t value = number<std::int64_t>(column);
    if (value <= 0) fail_at(column, "a positive number");
    return value;
  }

  double microseconds(std::size_t column) const {
    const auto value = number<double>(column);
    if (!std::isfinite(value) || value < 0) fail_at(column, "a time");
    return value;
  }

  /// Which of the names is in the cell.
  std::size_t choice(std::size_t column, std::span<const std::string_view> names) const {
    for (std::size_t i = 0; i < names.size(); ++i)
      if (cell(column) == names[i]) return i;
    fail_at(column, fmt::format("one of {}", fmt::join(names, ", ")));
  }

  DType type(std::size_t column) const {
    constexpr std::array types{DType::float32, DType::bfloat16};
    constexpr std::array names{name_of(types[0]), name_of(types[1])};
    return types[choice(column, names)];
  }

  std::optional<MeasuredAlgorithm> measured(std::size_t column) const {
    if (cell(column) == nothing && cell(column + 1) == nothing) return std::nullopt;
    MeasuredAlgorithm result{.microseconds = microseconds(column + 1)};
    constexpr std::size_t digits = 16;
    if (cell(column).size() != digits * result.algorithm.size()) fail_at(column, "an algorithm of 128 digits");
    for (std::size_t i = 0; i < result.algorithm.size(); ++i) {
      const std::string_view word = cell(column).substr(i * digits, digits);
      const auto read = std::from_chars(word.data(), word.data() + digits, result.algorithm[i], 16);
      if (read.ec != std::errc{} || read.ptr != word.data() + digits) fail_at(column, "an algorithm of 128 digits");
    }
    return result;
  }

  [[noreturn]] void fail(const std::string& what) const { fail_at_line(number_, what); }

 private:
  template <typename Number>
  Number number(std::size_t column) const {
    Number value{};
    const std::string_view text = cell(column);
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) fail_at(column, "a number");
    return value;
  }

  [[noreturn]] void fail_at(std::size_t column, std::string_view wanted) const {
    fail(fmt::format("column {} ({}) says '{}' and not {}", column + 1, columns[column], cell(column), wanted));
  }

  std::vector<std::string_view> cells_;
  std::size_t number_;
};

ProductChoice read_choice(const LineReader& line, std::size_t number) {
  constexpr std::array<std::string_view, 4> transposes{"nn", "nt", "tn", "tt"};
  constexpr std::array<std::string_view, 2> sums{"new", "added"};
  constexpr std::array<std::string_view, 3> ways{variant_names[0], variant_names[1], default_choice};
  const std::size_t transpose = line.choice(5, transposes);
  ProductChoice choice{.product = {.m = line.size(2),
                                   .n = line.size(3),
                                   .k = line.size(4),
                                   .transpose_a = transpose >= 2,
                                   .transpose_b = transpose % 2 == 1,
                                   .type = line.type(6),
                                   .result = line.type(7),
                                   .accumulate = line.choice(8, sums) == 1,
                                   .epilogue = static_cast<Epilogue>(line.choice(9, epilogue_names))},
                       .variant = std::nullopt,
                       .separate = line.measured(11),
                       .fused = line.measured(13),
                       .line = number};
  const std::size_t way = line.choice(10, ways);
  if (way < variant_names.size()) choice.variant = static_cast<Variant>(way);
  if (choice.variant && !choice.of(*choice.variant))
    line.fail(fmt::format("it chooses '{}' and has no algorithm for it", ways[way]));
  if (choice.fused && !may_be_fused(choice.product)) line.fail("its product has no fused form");
  return choice;
}

/// The lines of the products. The first line must name the columns, and the last one count the others.
std::vector<std::string_view> product_lines(const std::string& text) {
  std::vector<std::string_view> lines = split(text, '\n');
  if (!lines.back().empty()) fail_at_line(lines.size(), "the text ends inside it");
  lines.pop_back();
  if (lines.front() != choice_columns()) fail_at_line(1, "it does not name the columns of this version");
  const std::vector<std::string_view> last = split(lines.back(), '\t');
  if (last.size() != 2 || last.front() != end_of_choices)
    fail_at_line(lines.size(), fmt::format("the text ends with it, and the last line of a whole one says '{}' and how "
                                           "many products there are",
                                           end_of_choices));
  const std::size_t products = lines.size() - 2;
  if (lines.back() != footer(products))
    fail_at_line(lines.size(),
                 fmt::format("it says that there are {} products, and there are {} before it", last.back(), products));
  return {lines.begin() + 1, lines.end() - 1};
}

}  // namespace

std::string choice_name(const ChoiceOrigin& origin, const Product& product) {
  return fmt::format("{}\t{}\t{}\t{}\t{}\t{}{}\t{}\t{}\t{}\t{}", origin.card, origin.library, product.m, product.n,
                     product.k, product.transpose_a ? 't' : 'n', product.transpose_b ? 't' : 'n', name_of(product.type),
                     name_of(product.result), product.accumulate ? "added" : "new",
                     epilogue_names[static_cast<std::size_t>(product.epilogue)]);
}

std::string choice_columns() { return fmt::format("{}", fmt::join(columns, "\t")); }

std::string text_of(const ChoiceOrigin& origin, const ChoiceTable& table) {
  const std::size_t kept = std::min(table.foreign.size(), most_foreign_lines);
  const std::size_t products = table.own.size() + kept;
  if (products == 0) return {};
  std::string text = choice_columns() + "\n";
  for (const ProductChoice& choice : table.own) text += line_of(origin, choice);
  for (std::size_t i = 0; i < kept; ++i) text += table.foreign[i] + "\n";
  return text + footer(products) + "\n";
}

ChoiceTable choices_in(const std::string& text, const ChoiceOrigin& origin) {
  ChoiceTable table;
  if (text.empty()) return table;
  std::size_t number = 1;
  for (const std::string_view text_line : product_lines(text)) {
    const LineReader line(text_line, ++number);
    if (line.cell(0) == origin.card && line.cell(1) == origin.library)
      table.own.push_back(read_choice(line, number));
    else
      table.foreign.emplace_back(text_line);
  }
  return table;
}

}  // namespace penstock::ops
