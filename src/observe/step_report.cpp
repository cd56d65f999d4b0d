// SPDX-License-Identifier: Apache-2.0
#include "observe/step_report.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "plan/time_text.hpp"

namespace penstock {

namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// mpiexec and srun read a rank's stderr through a pipe; the person sees what they write to. On the launcher's node its
// processes are ancestors of this one.
bool launcher_writes_to_terminal() {
  constexpr std::array launchers{"mpiexec", "mpiexec.hydra", "mpirun", "hydra_pmi_proxy", "srun"};
  std::string process = std::to_string(getppid());
  bool terminal = false;
  for (int levels = 0; levels < 4; ++levels) {
    const std::string name = first_line("/proc/" + process + "/comm");
    if (std::find(launchers.begin(), launchers.end(), name) == launchers.end()) break;
    std::error_code error;
    const std::string target = std::filesystem::read_symlink("/proc/" + process + "/fd/2", error).string();
    terminal = target.starts_with("/dev/pts/") || target.starts_with("/dev/tty");
    // "pid (name) state parent ...": the launchers' names contain no blanks.
    std::istringstream stat(first_line("/proc/" + process + "/stat"));
    std::string skipped;
    stat >> skipped >> skipped >> skipped >> process;
  }
  return terminal;
}

}  // namespace

StepReport::StepReport(std::int64_t first_step, std::int64_t last_step)
    : first_step_(first_step),
      last_step_(last_step),
      terminal_(isatty(STDERR_FILENO) != 0 || launcher_writes_to_terminal()) {}

std::string StepReport::time_left(std::int64_t step) const {
  const double passed = seconds_since(start_);
  return short_time(passed / static_cast<double>(step - first_step_ + 1) * static_cast<double>(last_step_ - step));
}

void StepReport::show(const MetricsRow& row) {
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - shown_).count();
  const bool must = row.step == first_step_ || row.step == last_step_ || row.validation_loss;
  if (!must && since < (terminal_ ? 0.1 : 2.0)) return;
  shown_ = now;
  std::string line =
      fmt::format("step {:>{}}/{}  loss {:.4f}  norm {:.3f}  {:.0f} tokens/s", row.step,
                  std::to_string(last_step_).size(), last_step_, row.loss, row.gradient_norm, row.tokens_per_second);
  line += row.step < last_step_ ? fmt::format("  {} left", time_left(row.step)) : "";
  if (row.validation_loss) line += fmt::format("  validation {:.4f}", *row.validation_loss);
  if (!terminal_ || row.validation_loss) {
    clear();
    log_info("{}", line);
    return;
  }
  constexpr std::int64_t width = 24;
  const auto filled = static_cast<std::size_t>(width * row.step / std::max<std::int64_t>(1, last_step_));
  std::fprintf(stderr, "\r\033[K[%s%s] %s", std::string(filled, '#').c_str(), std::string(width - filled, '.').c_str(),
               line.c_str());
  std::fflush(stderr);
  drawn_ = true;
  if (row.step == last_step_) clear();
}

void StepReport::clear() {
  if (drawn_) std::fputc('\n', stderr);
  drawn_ = false;
}

}  // namespace penstock
