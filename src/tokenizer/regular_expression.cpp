// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/regular_expression.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/error.hpp"

namespace penstock {
namespace {

constexpr std::string_view expression_cure =
    "make the token file with another program, or use a tokenizer whose pattern Penstock knows";

std::string pcre2_message(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// The part of an expression that PCRE2 reads differently from Oniguruma; empty if there is none.
class DialectCheck {
 public:
  explicit DialectCheck(std::string_view expression) : expression_(expression) {}

  std::string difference() {
    for (; at_ < expression_.size(); ++at_) {
      const std::string found = in_class_ ? inside_class() : outside_class();
      if (!found.empty()) return found;
    }
    return "";
  }

 private:
  bool stands_here(std::string_view words) const { return expression_.substr(at_, words.size()) == words; }

  std::string escape() {
    ++at_;
    if (at_ == expression_.size()) return "";
    // \w and \b count different characters as parts of words; the others differ in meaning, or exist in only one of the
    // two.
    constexpr std::string_view alike = "sSdDpPrntfvx";
    const char letter = expression_[at_];
    const bool is_alnum =
        (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9');
    if (is_alnum && alike.find(letter) == std::string_view::npos) return fmt::format("\\{}", letter);
    if (letter == 'v') return "\\v";
    return "";
  }

  std::string inside_class() {
    if (expression_[at_] == '\\') return escape();
    if (stands_here("&&")) return "&& in a class";
    if (expression_[at_] == '[') return "[ in a class";
    if (expression_[at_] == ']') in_class_ = false;
    return "";
  }

  std::string outside_class() {
    switch (expression_[at_]) {
      case '\\':
        return escape();
      case '[':
        in_class_ = true;
        if (at_ + 1 < expression_.size() && expression_[at_ + 1] == '^') ++at_;
        if (at_ + 1 < expression_.size() && expression_[at_ + 1] == ']') return "] as a class's first character";
        return "";
      case '^':
      case '$':
        return std::string(1, expression_[at_]);
      case '(':
        return group();
      default:
        return "";
    }
  }

  std::string group() const {
    if (stands_here("(*")) return "(*";
    if (!stands_here("(?")) return "";
    constexpr std::string_view alike[] = {"(?:", "(?!", "(?=", "(?i:", "(?i)", "(?>"};
    const bool known =
        std::any_of(std::begin(alike), std::end(alike), [&](std::string_view words) { return stands_here(words); });
    return known ? "" : std::string(expression_.substr(at_, 4));
  }

  std::string_view expression_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

struct RegularExpression::Code {
  std::string expression;
  std::string where;
  pcre2_code* code = nullptr;

  Code(std::string_view words, std::string_view place) : expression(words), where(place) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
};

RegularExpression::RegularExpression(std::string_view expression, std::string_view where, unsigned options) {
  auto code = std::make_shared<Code>(expression, where);
  int error = 0;
  std::size_t place = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(), PCRE2_UTF | options,
                             &error, &place, context);
  pcre2_compile_context_free(context);
  if (!code->code)
    throw_input_error("{}: the pattern is no regular expression ({}, at byte {}): {}; {}", where, pcre2_message(error),
                      place, expression, expression_cure);
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);  // without it the same code is interpreted
  code_ = std::move(code);
}

RegularExpression::RegularExpression(std::string_view expression, std::string_view where)
    : RegularExpression(expression, where, PCRE2_UCP) {
  const std::string difference = DialectCheck(expression).difference();
  if (!difference.empty())
    throw_input_error("{}: the pattern holds {}, which PCRE2 and Oniguruma read differently: {}; {}", where, difference,
                      expression, expression_cure);
}

RegularExpression RegularExpression::literal(std::string_view text, std::string_view where) {
  return {text, where, PCRE2_LITERAL};
}

std::optional<RegularExpressionMatch> RegularExpression::find(std::string_view text, std::size_t from) const {
  struct Data {
    pcre2_match_data* data;
    ~Data() { pcre2_match_data_free(data); }
  } const match{pcre2_match_data_create(1, nullptr)};
  const int found = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK, match.data, nullptr);
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0)
    throw_input_error("{}: PCRE2 gave the pattern up ({}): {}; {}", code_->where, pcre2_message(found),
                      code_->expression, expression_cure);
  const std::size_t* ends = pcre2_get_ovector_pointer(match.data);
  return RegularExpressionMatch{ends[0], ends[1]};
}

}  // namespace penstock
