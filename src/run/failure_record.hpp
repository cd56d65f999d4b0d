// SPDX-License-Identifier: Apache-2.0
#pragma once
// FailureRecord: writes the end of a job that failed inside a step into its run folder.

#include <filesystem>
#include <string>

#include "comm/failure_report.hpp"
#include "run/run_folder.hpp"

namespace penstock {

/// Any rank may have to write it; of several the first one does. A folder that another run attempt has taken over is
/// not touched.
class FailureRecord {
 public:
  /// `life`: what the run folder's guard says of this life.
  FailureRecord(const std::filesystem::path& folder, std::string attempt);

  /// Writes report.txt, and end.json with `failed`. Returns whether this report is the first of this run attempt; true
  /// if the folder belongs to another run attempt. Throws SystemError if it cannot be written.
  bool keep(const FailureReport& report) const;

 private:
  RunFolder folder_;
  std::string attempt_;
};

}  // namespace penstock
