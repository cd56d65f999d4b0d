// SPDX-License-Identifier: Apache-2.0
#pragma once
// StepLog: the output about steps: rows of metrics.csv, a line or a bar, and warnings.

#include <cstdint>
#include <optional>
#include <vector>

#include "base/warning_limit.hpp"
#include "observe/step_report.hpp"
#include "run/metrics.hpp"
#include "run/run_session.hpp"

namespace penstock {

/// Rank 0 writes; on the other ranks all methods do nothing. Lives longer than what saves: `sync_rows` is called from
/// a save's thread.
class StepLog {
 public:
  /// `rank`: of the world.
  explicit StepLog(int rank) : writes_(rank == 0) {}

  /// Opens metrics.csv for the steps after `step` up to `last_step`, and keeps its rows up to `step`. Returns the
  /// tokens in that row; nothing if there is no such row. `session` outlives the log. Throws SystemError.
  std::optional<std::int64_t> begin(const RunSession& session, std::int64_t step, std::int64_t last_step);

  void report(const MetricsRow& row);
  /// For warnings that may come at every step: logs each kind at intervals, with a count.
  void warn(const std::vector<Warning>& warnings);
  /// At the end: logs the warnings that were held back.
  void warn_of_the_rest();
  /// Ends the line of the bar, so that other lines can follow.
  void clear_line();
  /// Returns when all rows are on the disk (Metrics::sync). From any thread.
  void sync_rows();

 private:
  bool writes_;
  std::optional<Metrics> metrics_;
  std::optional<StepReport> progress_;
  WarningLimit limit_;
};

}  // namespace penstock
