// SPDX-License-Identifier: Apache-2.0
#include "base/process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string_view>

namespace penstock {

namespace {

// The text after the second field, the name, which may contain blanks and brackets and ends with the last bracket.
std::string_view behind_the_name(std::string_view line) {
  const std::size_t name_end = line.rfind(") ");
  return name_end == line.npos ? std::string_view() : line.substr(name_end + 2);
}

// The target of a link; empty if there is none.
std::string target_of(const char* link) {
  char target[64];
  const ssize_t length = readlink(link, target, sizeof target);
  return length > 0 ? std::string(target, static_cast<std::size_t>(length)) : "";
}

}  // namespace

std::optional<ProcessStat> stat_of_process(std::int64_t process) {
  char path[48], text[1024];
  std::snprintf(path, sizeof path, "/proc/%lld/stat", static_cast<long long>(process));
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  const ssize_t length = read(file, text, sizeof text);
  close(file);
  if (length <= 0) return std::nullopt;
  constexpr int state_field = 3, start_ticks_field = 22;  // counted from 1, as proc(5) does
  std::string_view fields = behind_the_name({text, static_cast<std::size_t>(length)});
  if (fields.empty()) return std::nullopt;
  ProcessStat stat{.state = fields.front()};
  for (int field = state_field; field < start_ticks_field; ++field) {
    const std::size_t blank = fields.find(' ');
    if (blank == fields.npos) return std::nullopt;
    fields.remove_prefix(blank + 1);
  }
  const auto [end, error] = std::from_chars(fields.data(), fields.data() + fields.size(), stat.start_ticks);
  return error == std::errc() ? std::optional(stat) : std::nullopt;
}

bool may_run(std::int64_t process) {
  if (process <= 0 || process > std::numeric_limits<pid_t>::max()) return false;
  if (kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH) return false;
  const std::optional<ProcessStat> stat = stat_of_process(process);
  return !stat || !stat->ended();
}

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

// `unshare --pid` alone leaves the /proc of the namespace outside, where our number is another process's.
std::string pid_namespace() {
  if (target_of("/proc/self") != std::to_string(getpid())) return "";
  return target_of("/proc/self/ns/pid");
}

}  // namespace penstock
