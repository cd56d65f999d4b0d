// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/folder_time.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "checkpoint/durable_file.hpp"

namespace penstock {

namespace {

std::optional<double> descriptor_changed_at(int file) {
  struct stat status {};
  if (fstat(file, &status) != 0) return std::nullopt;
  return static_cast<double>(status.st_mtim.tv_sec) + 1e-9 * static_cast<double>(status.st_mtim.tv_nsec);
}

}  // namespace

// Opened, not looked at by name: a network file system then asks the server and not its memory.
std::optional<double> changed_at(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // a pipe would wait
  if (file < 0) return std::nullopt;
  const std::optional<double> changed = descriptor_changed_at(file);
  close(file);
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
