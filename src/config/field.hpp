// SPDX-License-Identifier: Apache-2.0
#pragma once
// One key of a deck: name, default, unit, meaning and rule, bound to a member of a config struct.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "config/deck_value.hpp"

namespace penstock {

using FieldValue =
    std::variant<std::int64_t, double, bool, std::string, std::vector<std::int64_t>, std::vector<std::string>>;

/// What a deck calls the values of an enum.
template <typename Enum>
using Words = std::vector<std::pair<std::string, Enum>>;

/// A member of an enum, which a deck says by one of its words. Borrows the member.
class WordTarget {
 public:
  /// `words` has one for each value that the member may hold.
  template <typename Enum>
  WordTarget(Enum& target, const Words<Enum>& words)
      : read_([&target, words] { return word_of(words, target); }),
        write_([&target, words](const std::string& word) { target = value_of(words, word); }) {}

  std::string word() const { return read_(); }
  /// Throws LogicError for a word that is none of them.
  void say(const std::string& word) const { write_(word); }

 private:
  template <typename Enum>
  static std::string word_of(const Words<Enum>& words, Enum value) {
    for (const auto& [word, known] : words)
      if (known == value) return word;
    throw LogicError("a key's value has no word");
  }
  template <typename Enum>
  static Enum value_of(const Words<Enum>& words, const std::string& word) {
    for (const auto& [known, value] : words)
      if (known == word) return value;
    throw LogicError("a key has no value for the word " + word);
  }

  std::function<std::string()> read_;
  std::function<void(const std::string&)> write_;
};

using FieldTarget = std::variant<std::int64_t*, double*, bool*, std::string*, std::vector<std::int64_t>*,
                                 std::vector<std::string>*, WordTarget>;

template <typename T>
concept FieldType = std::is_constructible_v<FieldTarget, T*> && !std::is_const_v<T>;

/// Borrows its target, which must outlive it and must not move. The setters add rules and can be chained; the rules of
/// a list hold for each element, except not_empty(). A rule that does not fit the type is a LogicError.
class Field {
 public:
  /// `key` is "section.name"; the target's present value is the default.
  Field(std::string key, FieldTarget target, std::string meaning);

  Field& unit(std::string text);
  /// There is no default: a deck must set the key.
  Field& required();
  Field& at_least(double bound);
  Field& at_most(double bound);
  Field& above(double bound);
  Field& below(double bound);
  /// For a number that is used in single precision: the rounded value must obey the rules, too, and keep all its
  /// digits.
  Field& used_as_float32();
  Field& one_of(std::initializer_list<std::string_view> words);
  Field& one_of(std::vector<std::string> words);
  Field& one_of(std::initializer_list<std::int64_t> numbers);
  /// Only for texts and lists.
  Field& not_empty();
  /// Further text, shown when this key alone is explained.
  Field& advanced(std::string text);

  const std::string& key() const { return key_; }
  /// "model" of "model.layers".
  std::string section() const;
  /// "layers" of "model.layers".
  std::string name() const;
  const std::string& unit() const { return unit_; }
  const std::string& meaning() const { return meaning_; }
  const std::string& advanced() const { return advanced_; }
  bool is_required() const { return required_; }
  const FieldValue& default_value() const { return default_; }

  /// What the target holds now.
  FieldValue value() const;
  void assign(const FieldValue& value);

  /// The value in the field's type (an integer serves as a float); nothing when the type is another.
  std::optional<FieldValue> convert(const DeckValue& value) const;
  /// What is wrong with a value and the cure: "is less than 1; use an integer that is at least 1"; nothing if all is
  /// well.
  std::optional<std::string> broken_rule(const FieldValue& value) const;

  /// "integer", "list of texts"
  std::string type_text() const;
  /// "an integer", "a list of texts"
  std::string type_with_article() const;
  /// "at least 1, below 8"; empty without rules.
  std::string rules_text() const;
  /// A value of the field's type as TOML: the default, or else any.
  std::string example() const;
  /// What was probably meant by `given`, a value of another type, as TOML; example() if there is no guess.
  std::string probably_meant(const DeckValue& given) const;

 private:
  bool is_list() const { return target_.index() == 4 || target_.index() == 5; }
  bool is_number() const;
  bool is_text() const;
  std::string cure() const;
  std::optional<std::string> number_problem(double number) const;
  std::optional<std::string> float32_problem(double number) const;
  std::optional<std::string> element_problem(std::int64_t element) const;
  std::optional<std::string> element_problem(double element) const;
  std::optional<std::string> element_problem(bool element) const;
  std::optional<std::string> element_problem(const std::string& element) const;
  template <typename Element>
  std::optional<std::string> element_problem(const std::vector<Element>& list) const;

  std::string key_;
  FieldTarget target_;
  FieldValue default_;
  std::string meaning_;
  std::string unit_;
  std::string advanced_;
  bool required_ = false;
  bool not_empty_ = false;
  bool used_as_float32_ = false;
  std::optional<double> at_least_;
  std::optional<double> at_most_;
  std::optional<double> above_;
  std::optional<double> below_;
  std::vector<std::string> words_;
  std::vector<std::int64_t> numbers_;
};

/// The value as TOML text.
std::string toml_text(const FieldValue& value);

}  // namespace penstock
