// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who owns a file, and what this process may do with it. Several users may share a run folder: a run attempt does not
// replace, move or remove what its user may not write, even if the folder's permissions would allow it.

#include <filesystem>
#include <string>
#include <string_view>

namespace penstock {

/// "it belongs to alice (uid 1001), group users (gid 100), mode 0600"; of the folder that hides it if it cannot be seen
/// itself.
std::string owner_text(const std::filesystem::path& path);

/// The cure for "Permission denied": who must do what. `need` is "r", "w" or "rw".
std::string cure_of_no_permission(const std::filesystem::path& path, std::string_view need);

/// Whether this process may replace, move or remove what has this name: it may write it, and no sticky folder reserves
/// it for its owner. True if nothing has this name.
bool may_change(const std::filesystem::path& path);

/// Whether this process may write it, or make files in this folder. True if nothing has this name.
bool may_write(const std::filesystem::path& path);
/// Whether this process may read it. True if nothing has this name.
bool may_read(const std::filesystem::path& path);
/// Whether it may reach the contents of this folder. True if nothing has this name.
bool may_enter(const std::filesystem::path& folder);

}  // namespace penstock
