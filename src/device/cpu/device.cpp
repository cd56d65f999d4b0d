// SPDX-License-Identifier: Apache-2.0
#include "device/device.hpp"

#include <sys/resource.h>

#include "base/error.hpp"
#include "device/cpu/vector_lanes.hpp"
#include "device/node_memory.hpp"

namespace penstock {

std::vector<std::string> visible_devices() { return {}; }

void open_device(const DeviceChoice&) { vector_lanes(); }

std::string memory_in_use_text() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return fmt::format("the process held at most {:.2f} GiB", static_cast<double>(usage.ru_maxrss) / (1 << 20));
}

DeviceRoom device_room() {
  const NodeMemory memory = node_memory();
  return {.device = "memory", .free = memory.available, .total = memory.total, .may_be_freed = true};
}

MemoryBesidePlan memory_beside_plan() {
  return {
      .bytes = std::size_t{50} << 20, .what = "the program and its libraries", .host_copies = true, .shown_by = "ps"};
}

std::string arithmetic_text() { return fmt::format("vectors of {} floats", vector_lanes()); }

std::string device_text() { return fmt::format("CPU with vectors of {} floats", vector_lanes()); }

}  // namespace penstock
