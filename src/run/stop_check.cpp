// SPDX-License-Identifier: Apache-2.0
#include "run/stop_check.hpp"

#include "base/log.hpp"
#include "plan/memory_text.hpp"
#include "plan/time_text.hpp"

namespace penstock {

std::string_view name_of(StopReason reason) {
  switch (reason) {
    case StopReason::none:
      return "";
    case StopReason::run_stop:
      return "run.stop";
    case StopReason::stop_file:
      return "stop file";
    case StopReason::job_end:
      return "job end";
    case StopReason::signal:
      return "signal";
  }
  return "?";
}

std::string words_of(StopReason reason, int signal) {
  switch (reason) {
    case StopReason::stop_file:
      return "by the file `stop`";
    case StopReason::job_end:
      return "before the end of the job";
    case StopReason::signal:
      return fmt::format("on request ({})", name_of_signal(signal));
    default:
      return "at run.stop";
  }
}

StopSources stop_sources(const RunConfig& config, const RunFolder& folder, const ModelPlan& plan) {
  StopSources sources{.file = folder.stop(), .job_end = {}, .reserve_seconds = config.run.reserve};
  if (config.run.reserve > 0) sources.job_end = ask_job_end();
  if (!sources.job_end) return sources;
  // Each parameter has 12 bytes of state; a slow disk is assumed until a save was measured.
  constexpr double presumed_bytes_per_second = 1e8;
  sources.save_seconds = 12 * static_cast<double>(total_parameters(plan)) / presumed_bytes_per_second;
  const std::chrono::duration<double> left = *sources.job_end - WallTime::clock::now();
  log_info("this Slurm job ends in {}; the run saves itself before", short_time(left.count()));
  return sources;
}

StopReason StopCheck::asked() {
  if (request_->signal() != 0) return asked_ = StopReason::signal;
  if (asked_ == StopReason::none && job_ends_soon()) asked_ = StopReason::job_end;
  if (asked_ == StopReason::none && file_is_there()) asked_ = StopReason::stop_file;
  return asked_;
}

bool StopCheck::file_is_there() {
  constexpr std::chrono::seconds pause(1);  // a step may take milliseconds, and each check asks a file server
  const auto now = std::chrono::steady_clock::now();
  if (sources_.file.empty() || now - looked_ < pause) return false;
  looked_ = now;
  std::error_code error;
  return std::filesystem::exists(sources_.file, error);
}

bool StopCheck::job_ends_soon() const {
  if (!sources_.job_end) return false;
  const std::chrono::duration<double> left = *sources_.job_end - std::chrono::system_clock::now();
  return left.count() < margin_seconds();
}

}  // namespace penstock
