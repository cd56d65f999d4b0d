// SPDX-License-Identifier: Apache-2.0
#include "storage/owner.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

namespace penstock {

namespace {

std::optional<struct stat> stat_of(const std::filesystem::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return std::nullopt;
  return status;
}

std::string name_of_user(uid_t user) {
  std::array<char, 4096> memory{};
  passwd entry{};
  passwd* found = nullptr;
  getpwuid_r(user, &entry, memory.data(), memory.size(), &found);
  return found ? fmt::format("{} (uid {})", found->pw_name, user) : fmt::format("uid {}", user);
}

std::string name_of_group(gid_t number) {
  std::array<char, 4096> memory{};
  group entry{};
  group* found = nullptr;
  getgrgid_r(number, &entry, memory.data(), memory.size(), &found);
  return found ? fmt::format("group {} (gid {})", found->gr_name, number) : fmt::format("gid {}", number);
}

std::filesystem::path whole_path(const std::filesystem::path& path) {
  std::error_code no_working_folder;
  const std::filesystem::path whole = std::filesystem::absolute(path, no_working_folder);
  return no_working_folder ? path : whole;
}

// The path itself, or the folder above it at which the view ends.
std::filesystem::path what_can_be_seen(const std::filesystem::path& path) {
  std::filesystem::path part = whole_path(path);
  while (!stat_of(part) && part.has_relative_path()) part = part.parent_path();
  return part;
}

bool is_allowed(const std::filesystem::path& path, int how) {
  return faccessat(AT_FDCWD, path.c_str(), how, AT_EACCESS) == 0 || errno == ENOENT;
}

// A sticky folder lets only the owners of a file, or of the folder itself, rename or remove it.
bool is_kept_for_its_owner(const std::filesystem::path& path) {
  struct stat file {};
  if (lstat(path.c_str(), &file) != 0) return false;
  const auto folder = stat_of(path.has_parent_path() ? path.parent_path() : ".");
  const uid_t me = geteuid();
  return folder && (folder->st_mode & S_ISVTX) != 0 && me != 0 && me != file.st_uid && me != folder->st_uid;
}

}  // namespace

std::string owner_text(const std::filesystem::path& path) {
  const std::filesystem::path seen = what_can_be_seen(path);
  const auto status = stat_of(seen);
  if (!status) return "nothing of it can be seen";
  const bool itself = seen == whole_path(path);
  return fmt::format("{} belongs to {}, {}, mode {:04o}", itself ? "it" : "the folder " + seen.string(),
                     name_of_user(status->st_uid), name_of_group(status->st_gid), status->st_mode & 07777);
}

std::string cure_of_no_permission(const std::filesystem::path& path, std::string_view need) {
  if (may_write(path) && is_kept_for_its_owner(path))
    return fmt::format("{}, and its folder is sticky: ask the owner to move it, or for `chmod -t {}`", owner_text(path),
                       path.parent_path().string());
  const std::filesystem::path seen = what_can_be_seen(path);
  const auto status = stat_of(seen);
  const bool mine = status && status->st_uid == geteuid();
  const bool itself = seen == whole_path(path);
  return fmt::format("{}; {} `chmod {}+{} {}`", owner_text(path), mine ? "do" : "ask the owner for", mine ? "u" : "g",
                     itself ? need : "rx", seen.string());
}

bool may_change(const std::filesystem::path& path) { return may_write(path) && !is_kept_for_its_owner(path); }

bool may_write(const std::filesystem::path& path) { return is_allowed(path, W_OK); }

bool may_read(const std::filesystem::path& path) { return is_allowed(path, R_OK); }

bool may_enter(const std::filesystem::path& folder) { return is_allowed(folder, X_OK); }

}  // namespace penstock
