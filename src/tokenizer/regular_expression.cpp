// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/regular_expression.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

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

struct CodePointRange {
  std::uint32_t first, last;
};
// White_Space, unchanged since Unicode 6.3. The \s of PCRE2 also takes U+180E, which is none since then.
constexpr CodePointRange white_space[] = {{0x09, 0x0d},     {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},
                                          {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                          {0x205f, 0x205f}, {0x3000, 0x3000}};

/// The inside of a class: white space, or everything else.
std::string class_of_spaces(bool everything_else) {
  std::string inside;
  std::uint32_t next = 0;
  for (const CodePointRange& space : white_space) {
    inside += everything_else ? fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", next, space.first - 1)
                              : fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", space.first, space.last);
    next = space.last + 1;
  }
  if (everything_else) inside += fmt::format("\\x{{{:x}}}-\\x{{10ffff}}", next);
  return inside;
}

// PCRE2 takes other names for scripts and properties, and since 10.40 \p{Han} is no longer the script alone.
bool is_general_category(std::string_view name) {
  constexpr std::string_view categories[] = {
      "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",  "Mc", "Me", "Mn", "N",  "Nd", "Nl",
      "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};
  return std::find(std::begin(categories), std::end(categories), name) != std::end(categories);
}

bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

/// Reads an expression of Oniguruma's: what PCRE2 would read otherwise, or else the same expression for PCRE2.
class DialectReader {
 public:
  explicit DialectReader(std::string_view expression) : expression_(expression) {
    while (at_ < expression_.size() && difference_.empty()) in_class_ ? inside_class() : outside_class();
  }

  /// What the two read differently; empty where nothing.
  const std::string& difference() const { return difference_; }
  const std::string& for_pcre2() const { return for_pcre2_; }

 private:
  bool stands_here(std::string_view words) const { return expression_.substr(at_, words.size()) == words; }
  char byte_at(std::size_t at) const { return at < expression_.size() ? expression_[at] : '\0'; }

  void take(std::size_t bytes) {
    for_pcre2_ += expression_.substr(at_, bytes);
    at_ = std::min(at_ + bytes, expression_.size());
  }
  void differs(std::string_view words) { difference_ = words; }
  void differs_for(std::size_t bytes) { difference_ = expression_.substr(at_, bytes); }

  void escape() {
    const char letter = byte_at(at_ + 1);
    if (letter == 's' || letter == 'S') return spaces(letter == 'S');
    if (letter == 'p' || letter == 'P') return property();
    if (letter == 'x') return number();
    // \w and \b count other characters as parts of words; the rest mean something else, or nothing, in one of the two.
    constexpr std::string_view alike = "dDrntf";
    const bool is_alnum = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || is_digit(letter);
    if (is_alnum && alike.find(letter) == std::string_view::npos) return differs_for(2);
    take(2);
  }

  // A range that begins or ends with \s is an error to PCRE2.
  void spaces(bool everything_else) {
    const std::string inside = class_of_spaces(everything_else);
    for_pcre2_ += in_class_ ? inside : "[" + inside + "]";
    at_ += 2;
  }

  void property() {
    const std::size_t end = expression_.find('}', at_);
    if (byte_at(at_ + 2) != '{' || end == std::string_view::npos) return differs("\\p without braces");
    if (!is_general_category(expression_.substr(at_ + 3, end - at_ - 3))) return differs_for(end + 1 - at_);
    take(end + 1 - at_);
  }

  // Two digits are a byte to Oniguruma and a code point to PCRE2.
  void number() {
    const std::size_t end = byte_at(at_ + 2) == '{' ? expression_.find('}', at_) : std::string_view::npos;
    if (end == std::string_view::npos) return differs("\\x without braces");
    take(end + 1 - at_);
  }

  void inside_class() {
    if (stands_here("&&")) return differs("&& in a class");
    if (stands_here("[")) return differs("[ in a class");
    if (stands_here("\\")) return escape();
    if (stands_here("]")) in_class_ = false;
    take(1);
  }

  void outside_class() {
    switch (expression_[at_]) {
      case '\\':
        return escape();
      case '[':
        take(stands_here("[^") ? 2 : 1);
        if (stands_here("]")) return differs("] as a class's first character");
        in_class_ = true;
        return;
      case '^':
      case '$':
        return differs_for(1);
      case '{':
        return interval();
      case '(':
        return group();
      default:
        return take(1);
    }
  }

  // {,n} is text to PCRE2 before 10.43. What + and ? after a brace make more or less greedy in PCRE2 they repeat in
  // Oniguruma.
  void interval() {
    std::size_t end = at_ + 1;
    while (is_digit(byte_at(end))) ++end;
    const bool begins_with_digit = end > at_ + 1;
    if (byte_at(end) == ',') ++end;
    while (is_digit(byte_at(end))) ++end;
    if (byte_at(end) != '}') return differs("{ that begins no interval (write \\{)");
    ++end;
    if (!begins_with_digit) return differs_for(end - at_);
    if (byte_at(end) == '+' || byte_at(end) == '?') return differs_for(end + 1 - at_);
    take(end - at_);
  }

  void group() {
    if (stands_here("(*")) return differs("(*");
    if (!stands_here("(?")) return take(1);
    if (stands_here("(?i)")) return at_ == 0 ? take(4) : differs("(?i) after the beginning");
    constexpr std::string_view alike[] = {"(?:", "(?!", "(?=", "(?i:", "(?>"};
    for (const std::string_view words : alike)
      if (stands_here(words)) return take(words.size());
    differs_for(4);
  }

  std::string_view expression_;
  std::string for_pcre2_;
  std::string difference_;
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

RegularExpression::RegularExpression(std::string_view expression, std::string_view where, unsigned options,
                                     std::string_view for_pcre2) {
  auto code = std::make_shared<Code>(expression, where);
  int error = 0;
  std::size_t place = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(for_pcre2.data()), for_pcre2.size(), PCRE2_UTF | options,
                             &error, &place, context);
  pcre2_compile_context_free(context);
  if (!code->code)
    throw_input_error("{}: the pattern is no regular expression ({}, at byte {}): {}; {}", where, pcre2_message(error),
                      place, expression, expression_cure);
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);  // without it the same code is interpreted
  code_ = std::move(code);
}

RegularExpression::RegularExpression(std::string_view expression, std::string_view where)
    : RegularExpression(expression, where, PCRE2_UCP, expression) {  // as it is: errors name places in it
  const DialectReader read(expression);
  if (!read.difference().empty())
    throw_input_error("{}: the pattern holds {}, which PCRE2 and Oniguruma read differently: {}; {}", where,
                      read.difference(), expression, expression_cure);
  *this = RegularExpression(expression, where, PCRE2_UCP, read.for_pcre2());
}

RegularExpression RegularExpression::literal(std::string_view text, std::string_view where) {
  return {text, where, PCRE2_LITERAL, text};
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
