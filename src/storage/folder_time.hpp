// SPDX-License-Identifier: Apache-2.0
#pragma once
// Times of files in a folder, by the clock that stamps them: on a network file system it is not this machine's.

#include <filesystem>
#include <optional>

namespace penstock {

/// When the file was changed last, seconds; nothing where it is not there. Throws SystemError where that cannot be
/// known (no descriptor left, a server that does not answer).
std::optional<double> changed_at(const std::filesystem::path& file);

/// What the folder's clock says now, seconds: it stamps a file that is gone again when this returns. Throws SystemError
/// where none can be made.
double folder_clock(const std::filesystem::path& folder);

}  // namespace penstock
