// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a tokenizer cuts text into words before it merges: stages, each of which cuts the pieces of the one before.

#include <cstddef>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/regular_expression.hpp"
#include "tokenizer/split_pattern.hpp"

namespace penstock {

/// Digits (N) become words of their own: each one, or each run.
struct DigitSplit {
  bool individual = false;
};
/// Matches, and what lies between them, are words.
struct ExpressionSplit {
  RegularExpression expression;
};
using SplitStage = std::variant<SplitPattern, DigitSplit, ExpressionSplit>;

/// A value; the table outlives it.
class PreTokenizer {
 public:
  PreTokenizer(std::vector<SplitStage> stages, const UnicodeTable& table)
      : stages_(std::move(stages)), table_(&table) {}

  /// Calls `word(std::string_view)` for all words of well-formed text, in order. Together they are the whole text.
  template <typename Word>
  void split(std::string_view text, Word&& word) const {
    split_from(0, text, word);
  }

  /// Whether a word always ends between a letter and a following code point that is no letter, number, mark or
  /// apostrophe, whatever the text around them.
  bool ends_words_after_letters() const;

 private:
  template <typename Word>
  void split_from(std::size_t stage, std::string_view text, Word& word) const {
    if (text.empty()) return;
    if (stage == stages_.size()) return word(text);
    const auto next = [&](std::string_view piece) { split_from(stage + 1, piece, word); };
    std::visit([&](const auto& split) { cut(split, text, next); }, stages_[stage]);
  }

  template <typename Next>
  void cut(SplitPattern pattern, std::string_view text, const Next& next) const {
    const SplitScanner scanner(pattern, *table_);
    const char* const end = text.data() + text.size();
    for (const char* at = text.data(); at < end;) {
      const char* piece_end = scanner.piece_end(at, end);
      next(std::string_view(at, static_cast<std::size_t>(piece_end - at)));
      at = piece_end;
    }
  }

  template <typename Next>
  void cut(const DigitSplit& digits, std::string_view text, const Next& next) const {
    const auto is_digit = [&](std::size_t at) {
      return ((*table_)[code_point_at(text.data() + at).value] & UnicodeTable::digit) != 0;
    };
    const auto bytes = [&](std::size_t at) { return code_point_at(text.data() + at).bytes; };
    for (std::size_t first = 0, at = 0; at < text.size(); first = at) {
      const bool digit = is_digit(at);
      at += bytes(at);
      if (!digit || !digits.individual)
        while (at < text.size() && is_digit(at) == digit) at += bytes(at);
      next(text.substr(first, at - first));
    }
  }

  template <typename Next>
  void cut(const ExpressionSplit& split, std::string_view text, const Next& next) const {
    std::size_t done = 0;
    for (std::size_t from = 0; from <= text.size();) {
      const auto match = split.expression.find(text, from);
      if (!match) break;
      if (match->begin > done) next(text.substr(done, match->begin - done));
      if (match->end > match->begin) next(text.substr(match->begin, match->end - match->begin));
      done = match->end;
      from = match->end > match->begin || match->end == text.size()
                 ? match->end + (match->end == match->begin ? 1 : 0)
                 : match->end + code_point_at(text.data() + match->end).bytes;
    }
    if (done < text.size()) next(text.substr(done));
  }

  std::vector<SplitStage> stages_;
  const UnicodeTable* table_;
};

}  // namespace penstock
