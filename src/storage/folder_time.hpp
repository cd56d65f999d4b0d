// SPDX-License-Identifier: Apache-2.0
#pragma once
// Times of files in a folder, by the clock that stamps them: on a network file system it is not this machine's.

#include <filesystem>
#include <optional>

namespace penstock {

/// When the file was last changed, seconds; nothing if it does not exist. Throws SystemError if that cannot be known
/// (no descriptor left, a server that does not answer).
std::optional<double> changed_at(const std::filesystem::path& file);

/// The present time of the folder's clock, seconds, from a file that is removed again. Throws SystemError if no file
/// can be made.
double folder_clock(const std::filesystem::path& folder);

}  // namespace penstock
