// SPDX-License-Identifier: Apache-2.0
#pragma once
// Paths that a user named. Exceptions of std::filesystem contain no cure, and it throws if a name is longer than the
// system's 255 bytes, links form a circle, or the working folder was deleted.

#include <filesystem>
#include <string_view>

namespace penstock {

/// The status of what has that name; type not_found if nothing has. Throws InputError "<path>: cannot be looked at:
/// <reason>; <cure>" if that cannot be known, or if the path starts from a working folder that is gone.
std::filesystem::file_status status_of_path(const std::filesystem::path& path, std::string_view cure);

/// The absolute path. Throws InputError if it starts from a working folder that is gone.
std::filesystem::path absolute_path(const std::filesystem::path& path);

}  // namespace penstock
