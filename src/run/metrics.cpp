// SPDX-License-Identifier: Apache-2.0
#include "run/metrics.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

#include "base/error.hpp"
#include "base/log.hpp"
#include "run/metrics_rows.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

std::string text(const MetricsRow& row) {
  return fmt::format("{},{},{:.17g},{:.17g},{:.9g},{:.6f},{:.1f},{},{}", row.step, row.tokens, row.loss,
                     row.gradient_norm, row.learning_rate, row.seconds, row.tokens_per_second,
                     row.validation_loss ? fmt::format("{:.17g}", *row.validation_loss) : "", row.skipped ? 1 : 0);
}

std::optional<MetricsRow> parse_row(const std::string& line) {
  MetricsRow row;
  const char* at = line.data();
  const char* const end = at + line.size();
  const auto take = [&](auto& value) {
    const auto [rest, error] = std::from_chars(at, end, value);
    if (error != std::errc() || rest == end || *rest != ',') return false;
    at = rest + 1;
    return true;
  };
  if (!take(row.step) || !take(row.tokens) || !take(row.loss) || !take(row.gradient_norm) || !take(row.learning_rate) ||
      !take(row.seconds) || !take(row.tokens_per_second))
    return std::nullopt;
  double validation_loss = 0;
  if (std::from_chars(at, end, validation_loss).ec == std::errc()) row.validation_loss = validation_loss;
  row.skipped = line.ends_with(",1");
  return row;
}

// The descriptor belongs to the file, not to its name: if another run attempt later gives the name to a file of its
// own, these rows do not reach that file.
Metrics::Metrics(std::filesystem::path path, std::int64_t last_step, const std::function<void()>& ensure_mine)
    : path_(std::move(path)) {
  KeptRows kept = last_step > 0 ? rows_up_to(path_, last_step) : KeptRows{};
  const std::string text = std::string(header) + "\n" + kept.text;
  tokens_ = kept.tokens;
  const std::filesystem::path temporary = temporary_name(path_);
  try {
    write_file(temporary, text);
    descriptor_ = open(temporary.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (descriptor_ < 0) throw SystemError(fmt::format("{}: cannot be opened", temporary.string()));
    if (ensure_mine) ensure_mine();
    if (!kept.damage.empty()) keep_damaged(path_, kept.damage);
    publish(temporary, path_);
  } catch (const std::exception&) {
    if (descriptor_ >= 0) close(descriptor_);
    discard(temporary);
    throw;
  }
  whole_bytes_ = text.size();
}

Metrics::~Metrics() { close(descriptor_); }

// Steps do not wait for the device: rows may be added while it writes.
void Metrics::sync() {
  {
    const std::lock_guard lock(mutex_);
    if (const int reason = write_waiting(); reason != 0)
      throw SystemError(fmt::format("{}: rows could not be written: {}", path_.string(), std::strerror(reason)));
  }
  if (fsync(descriptor_) != 0)
    throw SystemError(fmt::format("{}: cannot be written to the device: {}", path_.string(), std::strerror(errno)));
}

void Metrics::append(const MetricsRow& row) {
  const std::lock_guard lock(mutex_);
  waiting_ += text(row) + "\n";
  const int reason = write_waiting();
  if (reason == 0 || told_) return;
  log_warning("{}: step {} could not be written: {}; training goes on, and the row comes with a later one",
              path_.string(), row.step, std::strerror(reason));
  told_ = true;
}

// 0, or the system's reason. A failed write may have left a part of a line; it is cut off and written again.
int Metrics::write_waiting() {
  const ssize_t written = write(descriptor_, waiting_.data(), waiting_.size());
  if (written == static_cast<ssize_t>(waiting_.size())) {
    whole_bytes_ += waiting_.size();
    waiting_.clear();
    return 0;
  }
  const int reason = written < 0 ? errno : ENOSPC;
  if (ftruncate(descriptor_, static_cast<off_t>(whole_bytes_)) != 0)
    log_warning("{}: half a row could not be cut off: {}", path_.string(), std::strerror(errno));
  return reason;
}

}  // namespace penstock
