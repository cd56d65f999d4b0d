// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a file of a parallel file system lies over its targets.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace penstock {

/// What MPI-IO's hints "striping_factor" and "striping_unit" say. MPI-IO heeds them only where it makes the file
/// itself, and ours are made by one rank without it, whoever writes them.
struct Stripes {
  std::optional<std::int64_t> count;  ///< targets; -1: all there are
  std::optional<std::int64_t> bytes;  ///< on one of them in a row

  /// Throws InputError for a value that is no number.
  static Stripes from(const std::vector<std::pair<std::string, std::string>>& hints);
  bool any() const { return count || bytes; }
};

/// Makes an empty file that lies so, by Lustre's `lfs setstripe`, which also has to be told before anything is written.
/// Where that cannot be done the log says so, and the file will lie as its folder says.
void make_striped(const std::filesystem::path& file, const Stripes& stripes);

}  // namespace penstock
