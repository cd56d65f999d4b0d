// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "device/device.hpp"

namespace penstock {

namespace {

[[noreturn]] void refuse(const DeviceChoice& choice) {
  std::set<std::string> all;
  for (const std::vector<std::string>& visible : choice.visible) all.insert(visible.begin(), visible.end());
  const std::size_t devices = all.size(), ranks = choice.visible.size();
  throw_input_error(
      "{} ranks on this node, but {} GPU{} to be seen: a rank computes on a GPU of its own; start {} rank{} a node, or "
      "say "
      "device.share = true (for tests: several ranks on one GPU)",
      ranks, devices, devices == 1 ? " is" : "s are", devices, devices == 1 ? "" : "s");
}

}  // namespace

DevicePlace place_on_device(const DeviceChoice& choice) {
  std::set<std::string> taken;
  DevicePlace mine;
  bool shared = false;
  for (std::size_t rank = 0; rank < choice.visible.size(); ++rank) {
    const std::vector<std::string>& visible = choice.visible[rank];
    auto free = std::find_if(visible.begin(), visible.end(), [&](const auto& name) { return !taken.contains(name); });
    if (free == visible.end()) {
      if (!choice.share) refuse(choice);
      shared = true;
      free = visible.begin() + static_cast<std::ptrdiff_t>(rank % visible.size());
    }
    taken.insert(*free);
    if (static_cast<int>(rank) == choice.rank_on_node) mine.index = static_cast<int>(free - visible.begin());
  }
  if (shared && choice.nodes > 1)
    throw_input_error(
        "device.share = true puts several ranks on one GPU, which NCCL bears on a single node only; this job has {} "
        "nodes: "
        "start one rank a GPU",
        choice.nodes);
  mine.shared = shared;
  return mine;
}

}  // namespace penstock
