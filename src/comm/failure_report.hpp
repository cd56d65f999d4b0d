// SPDX-License-Identifier: Apache-2.0
#pragma once
// The report of a job that ends by itself: who waits for whom, who is silent, and where each rank was last.

#include <cstdint>
#include <string>
#include <vector>

#include "comm/roll_call.hpp"

namespace penstock {

struct FailureReport {
  std::int64_t steps_done = 0;  ///< by the failing rank
  std::string message;          ///< who, what went wrong and who is silent: one or two lines
  std::string text;             ///< the whole report, with the message
};

/// The facts of a report.
struct FailureFacts {
  int rank = 0;                    ///< the failing rank
  std::string what;                ///< "waited 600 s (watchdog.seconds = 600) for ..."
  std::string row;                 ///< its row of the schedule with the place marked; may be empty
  std::vector<std::string> names;  ///< of all ranks: "rank 2 on node7, process 4711"
  double now = 0;                  ///< of the roll call's clock
  double patience_seconds = 1;     ///< a rank not heard from for longer is silent
};

FailureReport failure_report(const RollCall& roll, const FailureFacts& facts);

}  // namespace penstock
