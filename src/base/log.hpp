// SPDX-License-Identifier: Apache-2.0
#pragma once
// Log lines go to stderr; rank 0 logs all of them, other ranks only warnings and errors.

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace penstock {

enum class LogLevel { information, warning, error };

/// Sets up the process's logger: lines on stderr, information from rank 0 only, warnings and errors from every rank
/// with its number in front. Warnings and errors begin with these words.
void start_log(int rank, int world_size);

/// Whether lines of this level are written on this rank.
bool is_logged(LogLevel level);

/// Writes one line. `log_info` and its neighbours format it first.
void log_line(LogLevel level, std::string_view line);

template <typename... Arguments>
void log_info(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  if (is_logged(LogLevel::information))
    log_line(LogLevel::information, fmt::format(format, std::forward<Arguments>(arguments)...));
}

template <typename... Arguments>
void log_warning(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  log_line(LogLevel::warning, fmt::format(format, std::forward<Arguments>(arguments)...));
}

template <typename... Arguments>
void log_error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  log_line(LogLevel::error, fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace penstock
