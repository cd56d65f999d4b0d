// SPDX-License-Identifier: Apache-2.0
#pragma once
// WarningLimit keeps a repeated warning from filling the log.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"

namespace penstock {

/// A warning that may be repeated: warnings of one kind are the same warning with other figures.
struct Warning {
  std::string kind;  ///< "slow rank: rank 3 on node7"
  std::string text;  ///< "slow rank: rank 3 on node7 computes 1.41 times as long as the median of 8 ranks"
};

/// Lets the first warning of a kind through, and later ones at most once in ten minutes. Those held back in between are
/// counted, and the count is shown with the next one.
class WarningLimit {
 public:
  static constexpr std::chrono::minutes pause{10};

  /// `now` is replaced in tests.
  explicit WarningLimit(std::function<Clock::time_point()> now = Clock::now) : now_(std::move(now)) {}

  /// The text to log; nothing if it is too early for its kind.
  std::optional<std::string> pass(const Warning& warning);
  /// For the end: the last warning of each kind that was held back, and how many there were. Resets the counts.
  std::vector<std::string> held_back();

 private:
  struct Kind {
    Clock::time_point logged;
    int held = 0;
    std::string last_text;
  };

  std::function<Clock::time_point()> now_;
  std::map<std::string, Kind> kinds_;
};

}  // namespace penstock
