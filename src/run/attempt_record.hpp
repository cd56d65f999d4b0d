// SPDX-License-Identifier: Apache-2.0
#pragma once
// end.json: how the last run attempt ended, for people, for jobs and for the next run attempt.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

/// How a life of a run ended. `running` is also what a life leaves that was killed.
enum class AttemptEnd { running, done, stopped, failed };
std::string_view name_of(AttemptEnd end);

struct AttemptRecord {
  AttemptEnd end = AttemptEnd::running;
  std::int64_t step = 0;
  int exit_code = 0;
  std::string reason = {};   ///< of a life that stopped: what asked it to (name_of(StopReason))
  std::string message = {};  ///< of a life that failed
  std::int64_t attempt = 1;
};

/// What end.json says: of this life, and of the one before it.
struct AttemptRecords {
  AttemptRecord last;
  std::optional<AttemptRecord> before;

  std::string json() const;
  /// Nothing when the text is no record.
  static std::optional<AttemptRecords> parse(const std::string& text);
  /// Nothing when there is no such file, or none that can be read.
  static std::optional<AttemptRecords> read(const std::filesystem::path& file);
};

}  // namespace penstock
