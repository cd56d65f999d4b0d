// SPDX-License-Identifier: Apache-2.0
#include "run/job_end.hpp"

#include <charconv>
#include <cstdlib>

#include "base/child_process.hpp"
#include "base/log.hpp"

namespace penstock {

namespace {

// The word after "NAME=" in a line of blank-separated pairs.
std::string_view value_in(std::string_view line, std::string_view name) {
  for (std::size_t at = 0; (at = line.find(name, at)) != std::string_view::npos; at += name.size()) {
    const bool begins = at == 0 || line[at - 1] == ' ';
    const std::size_t equals = at + name.size();
    if (!begins || equals >= line.size() || line[equals] != '=') continue;
    const std::string_view rest = line.substr(equals + 1);
    return rest.substr(0, rest.find_first_of(" \n"));
  }
  return {};
}

// The number is used in a command line.
bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string output_of_scontrol(const std::string& job) {
  return output_of_program(
      {"env", "SLURM_TIME_FORMAT=%s", "timeout", "-k", "1", "15", "scontrol", "show", "job", "--oneliner", job});
}

}  // namespace

std::optional<WallTime> job_end_in(std::string_view text, std::string_view job) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (value_in(line, "JobId") != job) continue;
    const std::string_view word = value_in(line, "EndTime");
    std::int64_t seconds = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), seconds);
    if (error != std::errc() || rest != word.data() + word.size()) return std::nullopt;
    constexpr std::int64_t last = 9'000'000'000;  // the limit of a clock of nanoseconds
    if (seconds < 0 || seconds > last) return std::nullopt;
    return WallTime(std::chrono::seconds(seconds));
  }
  return std::nullopt;
}

std::optional<WallTime> ask_job_end() {
  const char* job = std::getenv("SLURM_JOB_ID");
  if (!job || !is_number(job)) return std::nullopt;
  const std::string text = output_of_scontrol(job);
  if (text.empty())
    log_warning("scontrol does not know Slurm job {}: its end is unknown, and the run saves itself only at signals",
                job);
  return job_end_in(text, job);
}

}  // namespace penstock
