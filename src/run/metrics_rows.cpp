// SPDX-License-Identifier: Apache-2.0
#include "run/metrics_rows.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.hpp"
#include "base/log.hpp"
#include "run/metrics.hpp"

namespace penstock {

namespace {

[[noreturn]] void refuse_to_replace(const std::filesystem::path& path, const std::string& reason) {
  throw_input_error(
      "{}: cannot be read: {}; the rows of the steps so far would be lost: make it readable, or move it away "
      "to go on without them",
      path.string(), reason);
}

std::ptrdiff_t columns_of(std::string_view line) { return 1 + std::count(line.begin(), line.end(), ','); }

// Nothing for a truncated line, also in the middle of the file.
std::optional<MetricsRow> whole_row(const std::string& line) {
  return columns_of(line) == columns_of(Metrics::header) ? parse_row(line) : std::nullopt;
}

}  // namespace

KeptRows rows_up_to(const std::filesystem::path& metrics, std::int64_t last_step) {
  std::error_code error;
  const auto status = std::filesystem::status(metrics, error);
  if (status.type() == std::filesystem::file_type::not_found) return {};
  if (error) refuse_to_replace(metrics, error.message());
  if (std::filesystem::is_fifo(status)) refuse_to_replace(metrics, "it is a pipe");  // opening it would wait
  errno = 0;
  std::ifstream file(metrics);
  KeptRows kept;
  std::string line;
  std::int64_t number = 0, step = 0;
  while (std::getline(file, line) && !file.eof()) {
    if (++number == 1 && line == Metrics::header) continue;
    const std::optional<MetricsRow> row = whole_row(line);
    if (row && row->step > last_step) continue;
    if (!row || row->step < 1 || (step > 0 && row->step - 1 != step)) {
      if (kept.damage.empty()) kept.damage = fmt::format("line {} is not the row of the next step", number);
      if (!row || row->step <= step) continue;
    }
    step = row->step;
    kept.text += line + "\n";
    if (step == last_step) kept.tokens = row->tokens;
  }
  if (!file.is_open() || file.bad()) refuse_to_replace(metrics, std::strerror(errno != 0 ? errno : EIO));
  if (kept.damage.empty() && step < last_step)
    kept.damage = fmt::format("the rows of steps {} to {} are missing", step + 1, last_step);
  return kept;
}

void keep_damaged(const std::filesystem::path& metrics, const std::string& damage) {
  std::filesystem::path aside = metrics.parent_path() / "metrics.damaged.csv";
  std::error_code none;
  for (int copy = 2; std::filesystem::exists(aside, none); ++copy)
    aside = metrics.parent_path() / fmt::format("metrics.damaged-{}.csv", copy);
  std::error_code error;
  std::filesystem::copy_file(metrics, aside, error);
  if (error) throw SystemError(fmt::format("{}: cannot be made: {}", aside.string(), error.message()));
  log_warning("{}: damaged: {}; it stays as {}, and its whole rows are taken over", metrics.string(), damage,
              aside.filename().string());
}

}  // namespace penstock
