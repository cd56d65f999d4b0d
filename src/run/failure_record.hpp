// SPDX-License-Identifier: Apache-2.0
#pragma once
// FailureRecord: how the end of a job that failed inside a step gets into its run folder.

#include <filesystem>
#include <string>

#include "comm/failure_report.hpp"
#include "run/run_folder.hpp"

namespace penstock {

/// Any rank may have to write it, and of several the first one does. A folder that another life has taken over is left
/// alone.
class FailureRecord {
 public:
  /// `life`: what the run folder's guard says of this life.
  FailureRecord(const std::filesystem::path& folder, std::string attempt);

  /// Writes report.txt, and end.json with `failed`. Whether this report is the first of this life; where the folder is
  /// another life's, it is. Throws SystemError when it cannot be written.
  bool keep(const FailureReport& report) const;

 private:
  RunFolder folder_;
  std::string attempt_;
};

}  // namespace penstock
