// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/split_pattern.hpp"

#include <algorithm>
#include <iterator>

namespace penstock {
namespace {

struct KnownExpression {
  SplitPattern pattern;
  std::string_view expression;
};

// Several spellings of a pattern mean the same; the first one listed is the original user's.
constexpr KnownExpression known_expressions[] = {
    {SplitPattern::gpt2, R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
    {SplitPattern::llama3,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {SplitPattern::qwen2,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {SplitPattern::gpt2, R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
};

}  // namespace

std::optional<SplitPattern> known_split_pattern(std::string_view expression) {
  for (const KnownExpression& known : known_expressions)
    if (known.expression == expression) return known.pattern;
  return std::nullopt;
}

std::string_view expression_of(SplitPattern pattern) {
  return std::find_if(std::begin(known_expressions), std::end(known_expressions),
                      [&](const KnownExpression& known) { return known.pattern == pattern; })
      ->expression;
}

}  // namespace penstock
