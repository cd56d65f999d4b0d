// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a person sees of the steps: a bar on a terminal, plain lines in a log file.

#include <cstdint>
#include <string>

#include "base/clock.hpp"
#include "run/metrics.hpp"

namespace penstock {

/// Rank 0 only. A bar is drawn at most ten times a second; a line is printed at most every two seconds, and for the
/// first and the last step and every validation.
class StepReport {
 public:
  StepReport(std::int64_t first_step, std::int64_t last_step);
  void show(const MetricsRow& row);
  /// Ends the bar's line, so that other lines can follow.
  void clear();

 private:
  std::string time_left(std::int64_t step) const;

  std::int64_t first_step_;
  std::int64_t last_step_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_{};
};

}  // namespace penstock
