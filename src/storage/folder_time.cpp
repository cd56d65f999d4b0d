// SPDX-License-Identifier: Apache-2.0
#include "storage/folder_time.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

namespace {

double seconds_of(const struct stat& status) {
  return static_cast<double>(status.st_mtim.tv_sec) + 1e-9 * static_cast<double>(status.st_mtim.tv_nsec);
}

std::optional<double> descriptor_changed_at(int file) {
  struct stat status {};
  return fstat(file, &status) == 0 ? std::optional(seconds_of(status)) : std::nullopt;
}

// For a file that may not be opened.
std::optional<double> name_changed_at(const std::filesystem::path& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 ? std::optional(seconds_of(status)) : std::nullopt;
}

}  // namespace

// Opens the file instead of asking by name, so that a network file system asks the server and not its cache.
std::optional<double> changed_at(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // a pipe would wait
  const int refused = file < 0 ? errno : 0;
  std::optional<double> changed;
  if (file >= 0)
    changed = descriptor_changed_at(file);
  else if (refused == EACCES)
    changed = name_changed_at(path);
  const int reason = refused != 0 && refused != EACCES ? refused : errno;
  if (file >= 0) close(file);
  if (!changed && reason != ENOENT && reason != ENOTDIR)
    throw SystemError(fmt::format("{}: its time cannot be read: {}", path.string(), std::strerror(reason)));
  return changed;
}

double folder_clock(const std::filesystem::path& folder) {
  const std::filesystem::path probe = temporary_name(folder / "clock");
  const int file = open(probe.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
  if (file < 0) throw SystemError(fmt::format("{}: cannot be created: {}", probe.string(), std::strerror(errno)));
  const std::optional<double> now = futimens(file, nullptr) == 0 ? descriptor_changed_at(file) : std::nullopt;
  const int reason = errno;
  close(file);
  unlink(probe.c_str());
  if (!now) throw SystemError(fmt::format("{}: its time cannot be read: {}", probe.string(), std::strerror(reason)));
  return *now;
}

}  // namespace penstock
