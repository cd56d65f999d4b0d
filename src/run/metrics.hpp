// SPDX-License-Identifier: Apache-2.0
#pragma once
// metrics.csv: a row a step, from 1 on, without holes or doubles over all lives of a run.

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
  double loss = 0;           ///< mean over the global batch, under the weights after step - 1 updates; nats a token
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  double seconds = 0;  ///< of this step
  double tokens_per_second = 0;
  std::optional<double> validation_loss;  ///< under the weights after this step's update
  bool skipped = false;                   ///< loss or norm was not finite: the update was left out
};

class Metrics {
 public:
  static constexpr const char* header =
      "step,tokens,loss,gradient_norm,learning_rate,seconds,tokens_per_second,validation_loss,skipped";

  /// Opens the file and keeps its rows of steps 1 .. `last_step`; later rows and a half-written line are dropped. A
  /// file that is damaged stays beside it as metrics.damaged.csv, with a warning. `ensure_mine` throws when this life
  /// may not write in the folder any more. Throws SystemError, also where a file is there that cannot be read: its rows
  /// would be lost.
  Metrics(std::filesystem::path path, std::int64_t last_step, const std::function<void()>& ensure_mine = {});
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  /// Appends; a disk that is full is told once, and training goes on. Rows that could not be written wait for the next
  /// one; a part of a row is never left behind. Another life that has the folder has a file of its own by this name:
  /// this one's rows do not reach it.
  void append(const MetricsRow& row);
  /// Returns when all rows are in the file and on the device; writes first those that wait. Throws SystemError where
  /// that cannot be. From any thread.
  void sync();
  /// Of the row of `last_step`, where there was one.
  std::optional<std::int64_t> tokens() const { return tokens_; }

 private:
  int write_waiting();

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::optional<std::int64_t> tokens_;
  std::mutex mutex_;                ///< of what is below
  std::string waiting_;             ///< rows that are not in the file yet
  std::uintmax_t whole_bytes_ = 0;  ///< of the file's whole rows
  bool told_ = false;
};

/// One line of the file, numbers so that bits can be compared.
std::string text(const MetricsRow& row);
/// The row of a line; nothing for a header or half a line.
std::optional<MetricsRow> parse_row(const std::string& line);

}  // namespace penstock
