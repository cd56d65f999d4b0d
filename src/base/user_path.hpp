// SPDX-License-Identifier: Apache-2.0
#pragma once
// Paths that a user named. What std::filesystem throws holds no cure, and it throws where a name is longer than the
// system's 255 bytes, links form a circle, or the working folder was deleted.

#include <filesystem>
#include <string_view>

namespace penstock {

/// What is by that name; of type not_found where nothing is. Throws InputError "<path>: cannot be looked at: <reason>;
/// <cure>" where that cannot be known, and where the path starts from a working folder that is gone.
std::filesystem::file_status status_of_path(const std::filesystem::path& path, std::string_view cure);

/// The path from the root. Throws InputError where it starts from a working folder that is gone.
std::filesystem::path absolute_path(const std::filesystem::path& path);

}  // namespace penstock
