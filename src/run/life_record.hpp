// SPDX-License-Identifier: Apache-2.0
#pragma once
// end.json: how the last run attempt ended, for people, for jobs and for the next run attempt.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

/// How a run attempt (here: a life) ended. A killed one leaves `running`.
enum class LifeEnd { running, done, stopped, failed };
std::string_view name_of(LifeEnd end);

struct LifeRecord {
  LifeEnd end = LifeEnd::running;
  std::int64_t step = 0;
  int exit_code = 0;
  std::string reason = {};   ///< of a stopped run attempt: what asked it to stop (name_of(StopReason))
  std::string message = {};  ///< of a failed run attempt
  std::int64_t life = 1;
};

/// The contents of end.json: this run attempt, and the one before it.
struct LifeRecords {
  LifeRecord last;
  std::optional<LifeRecord> before;

  std::string json() const;
  /// Nothing if the text is no record.
  static std::optional<LifeRecords> parse(const std::string& text);
  /// Nothing if there is no such file, or it cannot be read.
  static std::optional<LifeRecords> read(const std::filesystem::path& file);
};

}  // namespace penstock
