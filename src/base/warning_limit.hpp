// SPDX-License-Identifier: Apache-2.0
#pragma once
// WarningLimit: the same warning does not fill a log.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"

namespace penstock {

/// A warning that may come again: those of one kind are the same warning, with other figures.
struct Warning {
  std::string kind;  ///< "slow rank: rank 3 on node7"
  std::string text;  ///< "slow rank: rank 3 on node7 computes 1.41 times as long as the median of 8 ranks"
};

/// Lets the first warning of a kind through, and later ones at most once in ten minutes; what was held back in
/// between is counted, and told with the next one.
class WarningLimit {
 public:
  static constexpr std::chrono::minutes pause{10};

  /// `now` is replaced in tests.
  explicit WarningLimit(std::function<Clock::time_point()> now = Clock::now) : now_(std::move(now)) {}

  /// The text to log; nothing where it is too early for its kind.
  std::optional<std::string> pass(const Warning& warning);
  /// For the end: the last warning of each kind that was held back, and how many there were. They count no more.
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
