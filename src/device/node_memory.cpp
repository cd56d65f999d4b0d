// SPDX-License-Identifier: Apache-2.0
#include "device/node_memory.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

namespace penstock {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

std::optional<std::size_t> number_in(const fs::path& file) {
  std::size_t number = 0;
  std::ifstream in(file);  // "max" means no limit and is not a number
  return in >> number ? std::optional(number) : std::nullopt;
}

// The number after `name` in a file of lines "name number".
std::optional<std::size_t> number_of(const fs::path& file, std::string_view name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    std::size_t number = 0;
    if (words >> word >> number && word == name) return number;
  }
  return std::nullopt;
}

// The file names of the two versions, and the place of this process's group.
struct GroupFiles {
  fs::path mount;
  const char* limit;
  const char* used;
  const char* cached;  ///< in memory.stat: the part of `used` that inactive files take
};

// Limits of the parent groups hold, too.
void apply_limits(NodeMemory& memory, const GroupFiles& files, const fs::path& group) {
  for (fs::path folder = group;; folder = folder.parent_path()) {
    const fs::path here = files.mount / folder.relative_path();
    if (const auto limit = number_in(here / files.limit)) {
      const std::size_t used = number_in(here / files.used).value_or(0);
      const std::size_t held = used - std::min(used, number_of(here / "memory.stat", files.cached).value_or(0));
      memory.total = std::min(memory.total, *limit);
      memory.available = std::min(memory.available, *limit - std::min(*limit, held));
    }
    if (!folder.has_relative_path()) return;
  }
}

}  // namespace

NodeMemory node_memory(const fs::path& root) {
  const fs::path about = root / "proc/meminfo";
  const auto bytes = [&](std::string_view name) {
    const auto kibibytes = number_of(about, name);
    return kibibytes ? *kibibytes * 1024 : no_limit;
  };
  NodeMemory memory{.total = bytes("MemTotal:"), .available = bytes("MemAvailable:")};

  std::ifstream groups(root / "proc/self/cgroup");  // lines "4:memory:/job" (version 1) and "0::/job" (version 2)
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path group = line.substr(second + 1);
    if (controllers == "memory")
      apply_limits(memory,
                   {.mount = root / "sys/fs/cgroup/memory",
                    .limit = "memory.limit_in_bytes",
                    .used = "memory.usage_in_bytes",
                    .cached = "total_inactive_file"},
                   group);
    else if (controllers.empty())
      apply_limits(
          memory,
          {.mount = root / "sys/fs/cgroup", .limit = "memory.max", .used = "memory.current", .cached = "inactive_file"},
          group);
  }
  memory.available = std::min(memory.available, memory.total);
  return memory;
}

}  // namespace penstock
