// SPDX-License-Identifier: Apache-2.0
#pragma once
// metrics.csv: one row for each step, from 1 on, without gaps or duplicates over all run attempts.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace penstock {

struct MetricsRow {
  std::int64_t step = 0;
  std::int64_t tokens = 0;   ///< seen up to and including this step
  double loss = 0;           ///< mean over the global batch, under the weights after step - 1 updates; nats per token
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  double seconds = 0;  ///< of this step
  double tokens_per_second = 0;
  std::optional<double> validation_loss;  ///< under the weights after this step's update
  bool skipped = false;                   ///< loss or norm was not finite: the update was skipped
};

class Metrics {
 public:
  static constexpr const char* header =
      "step,tokens,loss,gradient_norm,learning_rate,seconds,tokens_per_second,validation_loss,skipped";

  /// Opens the file and keeps its rows of steps 1 .. `last_step`; later rows and a half-written line are dropped. A
  /// damaged file stays next to it as metrics.damaged.csv, with a warning. `ensure_mine` throws if this run attempt may
  /// no longer write in the folder. Throws SystemError, also if an existing file cannot be read: its rows would be
  /// lost.
  Metrics(std::filesystem::path path, std::int64_t last_step, const std::function<void()>& ensure_mine = {});
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  /// Appends; a full disk is reported once, and training goes on. Rows that could not be written wait for the next one;
  /// part of a row never remains. Another run attempt that has taken the folder has its own file of this name, which
  /// these rows do not reach.
  void append(const MetricsRow& row);
  /// Returns when all rows are in the file and on the device; first writes those that wait. Throws SystemError if that
  /// fails. From any thread.
  void sync();
  /// The tokens of the row of `last_step`, if there was one.
  std::optional<std::int64_t> tokens() const { return tokens_; }

 private:
  int write_waiting();

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::optional<std::int64_t> tokens_;
  std::mutex mutex_;                ///< protects the members below
  std::string waiting_;             ///< rows that are not in the file yet
  std::uintmax_t whole_bytes_ = 0;  ///< of the file's whole rows
  bool told_ = false;
};

/// One line of the file, with numbers precise enough to compare bits.
std::string text(const MetricsRow& row);
/// The row of a line; nothing for a header or half a line.
std::optional<MetricsRow> parse_row(const std::string& line);

}  // namespace penstock
