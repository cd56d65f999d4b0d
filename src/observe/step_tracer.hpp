// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gathers the traced steps of all ranks and writes them.

#include <cstdint>
#include <vector>

#include "base/clock.hpp"
#include "comm/world.hpp"
#include "observe/trace.hpp"
#include "run/run_folder.hpp"

namespace penstock {

class StepTracer {
 public:
  /// `subject` and `folder` outlive it. `steps`: numbers of the steps to trace.
  StepTracer(const TraceSubject& subject, const RunFolder& folder, std::vector<std::int64_t> steps)
      : subject_(subject), folder_(&folder), steps_(std::move(steps)) {}

  bool wants(std::int64_t step) const;

  /// Collective: adds a step to the trace and rewrites the file (rank 0). A file that cannot be written causes a
  /// warning and does not end the run. `row` is this rank's; `foretold` may be empty.
  void add(World& world, std::int64_t step, Clock::time_point begin, const TracedRow& row,
           const std::vector<std::vector<Span>>& foretold);

 private:
  TraceSubject subject_;
  const RunFolder* folder_;
  std::vector<std::int64_t> steps_;
  std::vector<TracedStep> traced_;  ///< rank 0
  Clock::time_point first_begin_;
};

}  // namespace penstock
