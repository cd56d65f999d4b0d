// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a life takes over from the metrics.csv of the lives before it.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace penstock {

struct KeptRows {
  std::string text;                    ///< whole rows, a line a step, in their order
  std::optional<std::int64_t> tokens;  ///< of the last step's row
  std::string damage;                  ///< what is wrong with the file; empty: nothing
};

/// The rows of steps up to `last_step`; none where there is no file. Half a line at the end is what a life leaves that
/// was killed, and no damage. Throws SystemError for a file that cannot be read.
KeptRows rows_up_to(const std::filesystem::path& metrics, std::int64_t last_step);

/// Copies a damaged file to metrics.damaged.csv beside it (-2, -3 where there is one) and warns. Throws SystemError.
void keep_damaged(const std::filesystem::path& metrics, const std::string& damage);

}  // namespace penstock
