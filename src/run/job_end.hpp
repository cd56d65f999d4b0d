// SPDX-License-Identifier: Apache-2.0
#pragma once
// When the batch system ends this job: known beforehand, so that a run can save itself in time.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

using WallTime = std::chrono::system_clock::time_point;

/// The end of the job with this number in what `scontrol show job --oneliner` prints with SLURM_TIME_FORMAT=%s (a line
/// a job: the number of an array names all of its jobs). Nothing for a job without a limit, and for any other text.
std::optional<WallTime> job_end_in(std::string_view text, std::string_view job);

/// Asks Slurm once; takes as long as its controller, but at most some seconds. Nothing outside a Slurm job, without
/// `scontrol`, or where it does not answer (then with a line in the log).
std::optional<WallTime> ask_job_end();

}  // namespace penstock
