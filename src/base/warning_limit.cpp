// SPDX-License-Identifier: Apache-2.0
#include "base/warning_limit.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace penstock {

namespace {

// Rounded up: anything within a minute counts as the last minute.
long minutes_of(Clock::duration duration) {
  return std::max(1L, static_cast<long>(std::chrono::ceil<std::chrono::minutes>(duration).count()));
}

}  // namespace

std::optional<std::string> WarningLimit::pass(const Warning& warning) {
  const Clock::time_point now = now_();
  const auto [found, is_first] = kinds_.try_emplace(warning.kind, Kind{.logged = now, .held = 0, .last_text = {}});
  Kind& kind = found->second;
  if (!is_first && now - kind.logged < pause) {
    ++kind.held;
    kind.last_text = warning.text;
    return std::nullopt;
  }
  std::string text = warning.text;
  if (kind.held > 0)
    text += fmt::format(" ({} more of these in the last {} min)", kind.held, minutes_of(now - kind.logged));
  kind = {.logged = now, .held = 0, .last_text = {}};
  return text;
}

std::vector<std::string> WarningLimit::held_back() {
  std::vector<std::string> texts;
  for (auto& [name, kind] : kinds_) {
    if (kind.held == 0) continue;
    texts.push_back(fmt::format("{} (the last of {} of these in the last {} min)", kind.last_text, kind.held,
                                minutes_of(now_() - kind.logged)));
    kind.held = 0;
  }
  return texts;
}

}  // namespace penstock
