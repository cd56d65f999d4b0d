// SPDX-License-Identifier: Apache-2.0
#include "config/field.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/suggest.hpp"
#include "config/deck.hpp"

namespace penstock {

namespace {

// RFC 3629: lead bytes and as many continuation bytes as they announce (overlong forms aside, which do no harm here).
bool is_utf8(const std::string& text) {
  int wanted = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool continues = (byte & 0xc0U) == 0x80U;
    if (continues != (wanted > 0)) return false;
    if (continues)
      --wanted;
    else if (byte >= 0xc2 && byte < 0xe0)
      wanted = 1;
    else if (byte >= 0xe0 && byte < 0xf0)
      wanted = 2;
    else if (byte >= 0xf0 && byte < 0xf5)
      wanted = 3;
    else if (byte >= 0x80)
      return false;
  }
  return wanted == 0;
}

/// Up to here every integer is a double, so one kind of bound serves both.
constexpr double kExactIntegers = 9007199254740992.0;  // 2^53

void ensure_rule_fits(bool fits, const std::string& key) {
  ensure(fits, key + ": this rule does not fit the key's type");
}

template <typename T>
struct Convert {
  static std::optional<T> from(const DeckValue& given) {
    if (const T* same = std::get_if<T>(&given.value)) return *same;
    return std::nullopt;
  }
};

template <>
struct Convert<double> {
  static std::optional<double> from(const DeckValue& given) {
    if (const auto* integer = std::get_if<std::int64_t>(&given.value)) return static_cast<double>(*integer);
    if (const auto* real = std::get_if<double>(&given.value)) return *real;
    return std::nullopt;
  }
};

template <typename Element>
struct Convert<std::vector<Element>> {
  static std::optional<std::vector<Element>> from(const DeckValue& given) {
    const auto* list = std::get_if<DeckList>(&given.value);
    if (!list) return std::nullopt;
    std::vector<Element> elements;
    for (const DeckValue& entry : *list) {
      std::optional<Element> element = Convert<Element>::from(entry);
      if (!element) return std::nullopt;
      elements.push_back(std::move(*element));
    }
    return elements;
  }
};

// What a target holds, as a deck says it.
template <typename T>
T held_by(const T* target) {
  return *target;
}
std::string held_by(const WordTarget& target) { return target.word(); }

template <typename T>
void put(T* target, const T& value) {
  *target = value;
}
void put(const WordTarget& target, const std::string& word) { target.say(word); }

std::vector<std::string> texts(const std::vector<std::int64_t>& numbers) {
  std::vector<std::string> words;
  for (const std::int64_t number : numbers) words.push_back(toml_text(number));
  return words;
}

}  // namespace

Field::Field(std::string key, FieldTarget target, std::string meaning)
    : key_(std::move(key)), target_(std::move(target)), meaning_(std::move(meaning)) {
  default_ = value();
}

bool Field::is_number() const {
  return std::holds_alternative<std::int64_t*>(target_) || std::holds_alternative<double*>(target_) ||
         std::holds_alternative<std::vector<std::int64_t>*>(target_);
}

bool Field::is_text() const {
  return std::holds_alternative<std::string*>(target_) || std::holds_alternative<std::vector<std::string>*>(target_) ||
         std::holds_alternative<WordTarget>(target_);
}

Field& Field::unit(std::string text) {
  unit_ = std::move(text);
  return *this;
}

Field& Field::required() {
  required_ = true;
  return *this;
}

Field& Field::at_least(double bound) {
  ensure_rule_fits(is_number() && std::abs(bound) <= kExactIntegers, key_);
  at_least_ = bound;
  return *this;
}

Field& Field::at_most(double bound) {
  ensure_rule_fits(is_number() && std::abs(bound) <= kExactIntegers, key_);
  at_most_ = bound;
  return *this;
}

Field& Field::above(double bound) {
  ensure_rule_fits(is_number() && std::abs(bound) <= kExactIntegers, key_);
  above_ = bound;
  return *this;
}

Field& Field::below(double bound) {
  ensure_rule_fits(is_number() && std::abs(bound) <= kExactIntegers, key_);
  below_ = bound;
  return *this;
}

Field& Field::used_as_float32() {
  ensure_rule_fits(std::holds_alternative<double*>(target_), key_);
  used_as_float32_ = true;
  return *this;
}

Field& Field::one_of(std::initializer_list<std::string_view> words) {
  return one_of(std::vector<std::string>(words.begin(), words.end()));
}

Field& Field::one_of(std::vector<std::string> words) {
  ensure_rule_fits(is_text() && !words.empty(), key_);
  words_ = std::move(words);
  return *this;
}

Field& Field::one_of(std::initializer_list<std::int64_t> numbers) {
  ensure_rule_fits(is_number() && !std::holds_alternative<double*>(target_) && numbers.size() > 0, key_);
  numbers_ = numbers;
  return *this;
}

Field& Field::not_empty() {
  ensure_rule_fits(is_text() || is_list(), key_);
  not_empty_ = true;
  return *this;
}

Field& Field::advanced(std::string text) {
  advanced_ = std::move(text);
  return *this;
}

std::string Field::section() const { return key_.substr(0, key_.find('.')); }

std::string Field::name() const { return key_.substr(key_.find('.') + 1); }

FieldValue Field::value() const {
  return std::visit([](const auto& target) -> FieldValue { return held_by(target); }, target_);
}

void Field::assign(const FieldValue& value) {
  std::visit(
      [&](const auto& target) {
        const auto* held = std::get_if<decltype(held_by(target))>(&value);
        ensure(held != nullptr, key_ + ": the value is of another type");
        put(target, *held);
      },
      target_);
}

std::optional<FieldValue> Field::convert(const DeckValue& value) const {
  return std::visit(
      [&](const auto& target) -> std::optional<FieldValue> {
        auto converted = Convert<decltype(held_by(target))>::from(value);
        if (!converted) return std::nullopt;
        return FieldValue(std::move(*converted));
      },
      target_);
}

std::optional<std::string> Field::broken_rule(const FieldValue& value) const {
  return std::visit([this](const auto& held) { return element_problem(held); }, value);
}

std::optional<std::string> Field::number_problem(double number) const {
  if (at_least_ && number < *at_least_) return fmt::format("is less than {}; {}", *at_least_, cure());
  if (at_most_ && number > *at_most_) return fmt::format("is more than {}; {}", *at_most_, cure());
  if (above_ && number <= *above_) return fmt::format("is not above {}; {}", *above_, cure());
  if (below_ && number >= *below_) return fmt::format("is not below {}; {}", *below_, cure());
  return std::nullopt;
}

std::optional<std::string> Field::float32_problem(double number) const {
  constexpr float least = std::numeric_limits<float>::min(), most = std::numeric_limits<float>::max();
  const double size = std::abs(number);
  const bool fits = size <= static_cast<double>(most);
  const float used = fits ? static_cast<float>(number) : number > 0 ? HUGE_VALF : -HUGE_VALF;
  const auto problem = [&](const std::string& cure) {
    return fmt::format("becomes {} as a float32, which is what it is used as; use {}", used, cure);
  };
  if (!fits) return problem(fmt::format("at most {}", most));
  if (size > 0 && size < static_cast<double>(least))
    return problem(fmt::format("{}at least {}", number_problem(0) ? "" : "0, or ", least));
  if (below_ && static_cast<double>(used) >= *below_)
    return problem(fmt::format("at most {}", std::nextafter(static_cast<float>(*below_), -HUGE_VALF)));
  if (above_ && static_cast<double>(used) <= *above_)
    return problem(fmt::format("at least {}", std::nextafter(static_cast<float>(*above_), HUGE_VALF)));
  return std::nullopt;
}

std::optional<std::string> Field::element_problem(std::int64_t element) const {
  if (auto problem = number_problem(static_cast<double>(element))) return problem;
  if (!numbers_.empty() && std::find(numbers_.begin(), numbers_.end(), element) == numbers_.end())
    return fmt::format("is not among the choices; {}", cure());
  return std::nullopt;
}

std::optional<std::string> Field::element_problem(double element) const {
  if (!std::isfinite(element)) return fmt::format("is not finite; {}", cure());
  if (auto problem = number_problem(element)) return problem;
  return used_as_float32_ ? float32_problem(element) : std::nullopt;
}

std::optional<std::string> Field::element_problem(bool) const { return std::nullopt; }

std::optional<std::string> Field::element_problem(const std::string& element) const {
  if (!is_utf8(element))
    return "holds bytes that are not UTF-8 text, which a deck cannot say; rename the file, or make a link to it";
  if (element.find('\0') != std::string::npos) return "holds a zero byte; leave it out";
  if (not_empty_ && !is_list() && element.empty()) return fmt::format("is empty; {}", cure());
  if (!words_.empty() && std::find(words_.begin(), words_.end(), element) == words_.end())
    return fmt::format("is not among the choices (the nearest is {}); {}", nearest(element, words_), cure());
  return std::nullopt;
}

template <typename Element>
std::optional<std::string> Field::element_problem(const std::vector<Element>& list) const {
  if (not_empty_ && list.empty()) return fmt::format("is empty; {}", cure());
  for (std::size_t i = 0; i < list.size(); ++i)
    if (const auto problem = element_problem(list[i]))
      return fmt::format("does not fit: element {}, {}, {}", i + 1, shortened(toml_text(list[i])), *problem);
  return std::nullopt;
}

std::string Field::type_text() const {
  switch (target_.index()) {
    case 0:
      return "integer";
    case 1:
      return "float";
    case 2:
      return "boolean";
    case 3:
    case 6:
      return "text";
    case 4:
      return "list of integers";
    default:
      return "list of texts";
  }
}

std::string Field::type_with_article() const {
  if (is_text() && !is_list()) return "text";
  return (std::holds_alternative<std::int64_t*>(target_) ? "an " : "a ") + type_text();
}

std::string Field::rules_text() const {
  std::vector<std::string> rules;
  if (at_least_) rules.push_back(fmt::format("at least {}", *at_least_));
  if (at_most_) rules.push_back(fmt::format("at most {}", *at_most_));
  if (above_) rules.push_back(fmt::format("above {}", *above_));
  if (below_) rules.push_back(fmt::format("below {}", *below_));
  if (!numbers_.empty()) rules.push_back(choice_text(texts(numbers_)));
  if (!words_.empty()) rules.push_back(choice_text(words_));
  std::string text = fmt::format("{}", fmt::join(rules, ", "));
  if (is_list() && !text.empty()) text = "each " + text;
  if (not_empty_) text += text.empty() ? "not empty" : ", not empty";
  return text;
}

std::string Field::cure() const {
  const std::string rules = rules_text();
  return rules.empty() ? "use " + type_with_article() : fmt::format("use {}: {}", type_with_article(), rules);
}

std::string Field::example() const {
  if (!required_) return shortened(toml_text(default_));
  if (!words_.empty()) return is_list() ? toml_text(words_) : toml_text(words_.front());
  const auto integer = static_cast<std::int64_t>(std::max(at_least_.value_or(1), 1.0));
  switch (target_.index()) {
    case 0:
      return toml_text(numbers_.empty() ? integer : numbers_.front());
    case 1:
      return "0.5";
    case 2:
      return "true";
    case 3:
    case 6:
      return "\"text\"";
    case 4:
      return toml_text(numbers_.empty() ? std::vector<std::int64_t>{integer} : numbers_);
    default:
      return "[\"text\"]";
  }
}

std::string Field::probably_meant(const DeckValue& given) const {
  const auto fits = [&](const DeckValue& guess) {
    const auto converted = convert(guess);
    return converted && !broken_rule(*converted);
  };
  std::vector<DeckValue> guesses{{DeckList{given}}};
  if (const auto* text = std::get_if<std::string>(&given.value))
    if (const auto inner = parse_value(*text)) guesses.push_back(*inner);
  if (const auto* real = std::get_if<double>(&given.value);
      real && std::abs(*real) < kExactIntegers && *real == std::rint(*real))
    guesses.push_back({static_cast<std::int64_t>(*real)});
  const bool scalar = given.value.index() < 3;
  if (scalar) guesses.push_back({toml_text(given)});
  for (const DeckValue& guess : guesses)
    if (fits(guess)) return shortened(toml_text(guess));
  return example();
}

std::string toml_text(const FieldValue& value) {
  return std::visit([](const auto& held) { return toml_text(held); }, value);
}

}  // namespace penstock
