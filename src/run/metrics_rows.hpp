// SPDX-License-Identifier: Apache-2.0
#pragma once
// The rows that a run attempt takes over from the metrics.csv of earlier ones.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace penstock {

struct KeptRows {
  std::string text;                    ///< whole rows, one line for each step, in order
  std::optional<std::int64_t> tokens;  ///< of the last step's row
  std::string damage;                  ///< what is wrong with the file; empty: nothing
};

/// The rows of steps up to `last_step`; none if there is no file. Half a line at the end comes from a killed run
/// attempt and is no damage. Throws SystemError for a file that cannot be read.
KeptRows rows_up_to(const std::filesystem::path& metrics, std::int64_t last_step);

/// Copies a damaged file to metrics.damaged.csv next to it (-2, -3 if that exists) and warns. Throws SystemError.
void keep_damaged(const std::filesystem::path& metrics, const std::string& damage);

}  // namespace penstock
