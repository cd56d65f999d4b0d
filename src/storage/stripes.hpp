// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a file of a parallel file system is spread over its targets.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace penstock {

/// The values of MPI-IO's hints "striping_factor" and "striping_unit". MPI-IO follows them only if it creates the file
/// itself, but our files are created by one rank without MPI-IO, whoever writes them.
struct Stripes {
  std::optional<std::int64_t> count;  ///< targets; -1: all
  std::optional<std::int64_t> bytes;  ///< consecutive bytes on one target

  /// Throws InputError for a value that is no number.
  static Stripes from(const std::vector<std::pair<std::string, std::string>>& hints);
  bool any() const { return count || bytes; }
};

/// Makes an empty file with these stripes by Lustre's `lfs setstripe`, which is only possible before anything is
/// written. If that fails, the log says so, and the file has the stripes of its folder.
void make_striped(const std::filesystem::path& file, const Stripes& stripes);

}  // namespace penstock
