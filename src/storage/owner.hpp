// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whose a file is, and what this process may do with it. Several users may share a run folder: a run attempt neither
// replaces nor moves nor removes what its user may not write, though the folder's permissions would let it.

#include <filesystem>
#include <string>
#include <string_view>

namespace penstock {

/// "it belongs to alice (uid 1001), group users (gid 100), mode 0600"; of the folder that hides it where it cannot be
/// seen itself.
std::string owner_text(const std::filesystem::path& path);

/// The cure where the system said "Permission denied": who has to do what. `need` is "r", "w" or "rw".
std::string cure_of_no_permission(const std::filesystem::path& path, std::string_view need);

/// Whether this process may replace, move or remove what has this name: it may write it, and a sticky folder does not
/// keep it for its owner. True where nothing has this name.
bool may_change(const std::filesystem::path& path);

/// Whether this process may write it, or make files in this folder. True where nothing has this name.
bool may_write(const std::filesystem::path& path);
/// Whether this process may read it. True where nothing has this name.
bool may_read(const std::filesystem::path& path);
/// Whether it may reach what is in this folder. True where nothing has this name.
bool may_enter(const std::filesystem::path& folder);

}  // namespace penstock
