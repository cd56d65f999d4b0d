// SPDX-License-Identifier: Apache-2.0
#include "observe/step_log.hpp"

#include "base/log.hpp"

namespace penstock {

std::optional<std::int64_t> StepLog::begin(const RunSession& session, std::int64_t step, std::int64_t last_step) {
  if (!writes_) return std::nullopt;
  metrics_.emplace(session.folder().metrics(), step, [&session] { session.ensure_mine(); });
  progress_.emplace(step + 1, last_step);
  return metrics_->tokens();
}

void StepLog::report(const MetricsRow& row) {
  if (!writes_) return;
  metrics_->append(row);
  progress_->show(row);
}

void StepLog::warn(const std::vector<Warning>& warnings) {
  if (!writes_) return;
  for (const Warning& warning : warnings) {
    const std::optional<std::string> text = limit_.pass(warning);
    if (!text) continue;
    clear_line();
    log_warning("{}", *text);
  }
}

void StepLog::warn_of_the_rest() {
  for (const std::string& text : limit_.held_back()) {
    clear_line();
    log_warning("{}", text);
  }
}

void StepLog::clear_line() {
  if (progress_) progress_->clear();
}

void StepLog::sync_rows() {
  if (metrics_) metrics_->sync();
}

}  // namespace penstock
