// SPDX-License-Identifier: Apache-2.0
#pragma once
// A split pattern that has no scanner, by PCRE2 with its just-in-time compiler.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

struct RegularExpressionMatch {
  std::size_t begin;
  std::size_t end;
};

/// Compiled once; several threads may search with it at a time.
class RegularExpression {
 public:
  /// Accepts only expressions that mean the same to PCRE2 and to Oniguruma, which tokenizer.json is written for. Throws
  /// InputError "<where>: ..." for all others.
  RegularExpression(std::string_view expression, std::string_view where);
  /// A text that stands for itself.
  static RegularExpression literal(std::string_view text, std::string_view where);

  /// The first match at or after `from` in well-formed text. Throws InputError if PCRE2 gives up because the expression
  /// backtracks too much.
  std::optional<RegularExpressionMatch> find(std::string_view text, std::size_t from) const;

 private:
  struct Code;
  RegularExpression(std::string_view expression, std::string_view where, unsigned options, std::string_view for_pcre2);

  std::shared_ptr<const Code> code_;  // never changes: copies share it
};

}  // namespace penstock
