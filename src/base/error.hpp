// SPDX-License-Identifier: Apache-2.0
#pragma once
// The error ladder: `static_assert`, `std::optional`, `ensure` for what only a mistake in Penstock can break,
// `InputError` for what a user can correct.

#ifndef __CUDACC__  // nvcc cannot compile fmt's headers; its files report errors through functions defined elsewhere
#include <fmt/core.h>
#endif

#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace penstock {

/// What the user gave is wrong. The message holds what, the values, the rule and the cure. Ends the program with
/// code 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The environment failed (a full disk, a library): neither the user's input nor our logic is wrong. Exit code 1.
class SystemError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An invariant of Penstock does not hold. Exit code 1.
class LogicError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws LogicError with the place.
[[noreturn]] void throw_logic_error(std::string_view what, std::source_location where);

/// Throws LogicError with the place of the call unless `holds`.
inline void ensure(bool holds, std::string_view what, std::source_location where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    throw_logic_error(what, where);
}

#ifndef __CUDACC__
template <typename... Arguments>
[[noreturn]] void throw_input_error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw InputError(fmt::format(format, std::forward<Arguments>(arguments)...));
}
#endif

}  // namespace penstock
