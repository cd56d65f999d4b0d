// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>

namespace penstock {

/// Memory that the processes of this node may hold together: the machine's, or what the job's control group allows if
/// that is less.
struct NodeMemory {
  std::size_t total = 0;
  std::size_t available = 0;  ///< without taking it from other processes; cached files count as available
};

/// From /proc and /sys/fs/cgroup (versions 1 and 2) below `root`. A file that cannot be read sets no limit.
NodeMemory node_memory(const std::filesystem::path& root = "/");

}  // namespace penstock
