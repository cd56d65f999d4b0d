// SPDX-License-Identifier: Apache-2.0
#pragma once
// StepLog: what people and programs see of the steps: rows of metrics.csv, a line or a bar, and warnings.

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

  /// For steps after `step` up to `last_step`: opens metrics.csv, and keeps its rows up to `step`. `session` outlives
  /// the log. The tokens seen by then, as that row says; nothing where there is none. Throws SystemError.
  std::optional<std::int64_t> begin(const RunSession& session, std::int64_t step, std::int64_t last_step);

  void report(const MetricsRow& row);
  /// Warnings that may come step by step: each kind once in a while, and counted.
  void warn(const std::vector<Warning>& warnings);
  /// At the end: warnings that were held back and did not come again.
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
