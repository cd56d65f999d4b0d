// SPDX-License-Identifier: Apache-2.0
#include "storage/guard_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "storage/folder_time.hpp"
#include "storage/run_guard.hpp"

namespace penstock {

namespace {

// Nothing if reading fails; errno says why.
std::optional<std::string> text_of_descriptor(int file) {
  struct stat status {};
  if (fstat(file, &status) != 0) return std::nullopt;
  if (!S_ISREG(status.st_mode)) return "";     // a pipe would wait; a folder has no text
  constexpr std::size_t most_bytes = 1 << 16;  // more is no guard
  std::string text;
  char part[1024];
  for (ssize_t length = 0; text.size() < most_bytes && (length = read(file, part, sizeof part)) != 0;) {
    if (length > 0)
      text.append(part, static_cast<std::size_t>(length));
    else if (errno != EINTR)
      return std::nullopt;
  }
  return text;
}

// One failed look (a slow server) does not count; at the end of the time it is an error.
std::optional<double> changed_or(double earlier, const std::filesystem::path& guard, bool last) {
  try {
    return changed_at(guard);
  } catch (const SystemError&) {
    if (last) throw;
    return earlier;
  }
}

}  // namespace

std::optional<std::string> read_guard(const std::filesystem::path& guard) {
  const int file = open(guard.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0 && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  const std::optional<std::string> text = file < 0 ? std::nullopt : text_of_descriptor(file);
  const int reason = errno;
  if (file >= 0) close(file);
  if (!text) throw SystemError(fmt::format("{}: cannot be read: {}", guard.string(), std::strerror(reason)));
  return text;
}

Pulse pulse_of(const std::filesystem::path& guard, double now, const GuardTimes& times,
               const std::function<void()>& before_waiting) {
  const std::optional<double> first = changed_at(guard);
  if (!first) return Pulse::gone;
  const double silent = now - *first;
  if (silent > times.stale_seconds) return Pulse::stale;
  if (before_waiting) before_waiting();
  // A guard dated in the future says nothing about its past, so it is watched for the whole time.
  const double patience =
      silent < 0 ? times.patience_seconds : std::min(times.patience_seconds, times.stale_seconds - silent);
  const auto pause = std::chrono::duration<double>(std::min(1.0, times.heartbeat_seconds / 4));
  for (const auto start = Clock::now();;) {
    std::this_thread::sleep_for(pause);
    const bool last = seconds_since(start) > patience;
    const std::optional<double> changed = changed_or(*first, guard, last);
    if (!changed) return Pulse::gone;
    if (*changed != *first) return Pulse::beats;
    if (last) return Pulse::stale;
  }
}

}  // namespace penstock
