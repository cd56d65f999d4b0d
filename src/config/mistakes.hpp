// SPDX-License-Identifier: Apache-2.0
#pragma once
// Input errors are collected and shown together: fixing a deck takes one round, not one for each mistake.

#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

namespace penstock {

/// A list of mistakes in what the user gave, each one line: where, what, the values, the rule and the cure.
class Mistakes {
 public:
  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    lines_.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  bool any() const { return !lines_.empty(); }
  const std::vector<std::string>& lines() const { return lines_; }

  /// Throws one InputError that holds all mistakes: a single one unchanged, several indented below their number.
  void throw_if_any() const;

 private:
  std::vector<std::string> lines_;
};

}  // namespace penstock
