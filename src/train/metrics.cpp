#include "train/metrics.hpp"

#include <charconv>
#include <string>

#include "base/error.hpp"
#include "base/log.hpp"
#include "checkpoint/durable_file.hpp"

namespace penstock {

namespace {

// The step of a whole row, or 0.
std::int64_t step_of(const std::string& line) {
  std::int64_t step = 0;
  const char* end = line.data() + line.size();
  const auto [rest, error] = std::from_chars(line.data(), end, step);
  return error == std::errc() && rest != end && *rest == ',' ? step : 0;
}

// The whole rows of steps up to last_step.
std::string rows_up_to(const std::filesystem::path& path, std::int64_t last_step) {
  std::ifstream file(path);
  std::string kept, line;
  while (std::getline(file, line) && !file.eof()) {
    const std::int64_t step = step_of(line);
    if (step >= 1 && step <= last_step) kept += line + "\n";
  }
  return kept;
}

}  // namespace

std::string text(const MetricsRow& row) {
  return fmt::format("{},{},{:.17g},{:.17g},{:.9g},{:.6f},{:.1f},{}", row.step, row.tokens, row.loss, row.gradient_norm,
                     row.learning_rate, row.seconds, row.tokens_per_second,
                     row.validation_loss ? fmt::format("{:.17g}", *row.validation_loss) : "");
}

Metrics::Metrics(std::filesystem::path path, std::int64_t last_step) : path_(std::move(path)) {
  const std::string kept = last_step > 0 ? rows_up_to(path_, last_step) : "";
  const std::filesystem::path temporary = path_.string() + ".tmp";
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << header << "\n" << kept;
    if (!file.flush()) throw SystemError(fmt::format("{}: could not be written; is the disk full?", path_.string()));
  }
  sync(temporary);
  publish(temporary, path_);
  file_.open(path_, std::ios::app);
  whole_bytes_ = std::filesystem::file_size(path_);
}

void Metrics::append(const MetricsRow& row) {
  waiting_ += text(row) + "\n";
  file_ << waiting_ << std::flush;
  if (file_) {
    whole_bytes_ += waiting_.size();
    waiting_.clear();
    return;
  }
  if (!told_)
    spdlog::warn("{}: step {} could not be written (is the disk full?); training goes on", path_.string(), row.step);
  told_ = true;
  drop_half_line();
}

// A write that failed may have left a part of a line; the stream would write all of it again behind that part.
void Metrics::drop_half_line() {
  file_.close();
  std::error_code error;
  std::filesystem::resize_file(path_, whole_bytes_, error);
  file_.clear();
  file_.open(path_, std::ios::app);
}

}  // namespace penstock
