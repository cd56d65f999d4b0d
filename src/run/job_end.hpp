// SPDX-License-Identifier: Apache-2.0
#pragma once
// When the batch system will end this job, so that a run can save itself in time.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

using WallTime = std::chrono::system_clock::time_point;

/// The end of the job with this number in the output of `scontrol show job --oneliner` with SLURM_TIME_FORMAT=%s (one
/// line for each job; the number of an array names all of its jobs). Nothing for a job without a limit, and for any
/// other text.
std::optional<WallTime> job_end_in(std::string_view text, std::string_view job);

/// Asks Slurm once; takes as long as its controller, but at most some seconds. Nothing outside a Slurm job, without
/// `scontrol`, or if it does not answer (then with a line in the log).
std::optional<WallTime> ask_job_end();

}  // namespace penstock
