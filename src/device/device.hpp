// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, choice: the device on which this process computes.

#include <cstddef>
#include <string>
#include <vector>

namespace penstock {

/// Names of the devices that this process may take, unique on its node (a GPU's UUID); none on the CPU backend. Throws
/// InputError where there is no device, or no driver that serves this program.
std::vector<std::string> visible_devices();

/// What is known about a rank before it has a device.
struct DeviceChoice {
  int rank_on_node = 0;                           ///< from 0 on
  std::vector<std::vector<std::string>> visible;  ///< visible_devices() of each rank of the node, in rank order
  int nodes = 1;
  bool share = false;  ///< several ranks may compute on one device (device.share)
};

/// Which of its visible devices a rank takes.
struct DevicePlace {
  int index = 0;
  bool shared = false;  ///< ranks of this node share a device
};

/// In rank order each rank takes its first device that no other rank has taken. Ranks that all see the same devices
/// take them in order; ranks that each see one device take that. If none is left, throws InputError, or with `share`,
/// on a job's only node, assigns the devices again. Pure arithmetic.
DevicePlace place_on_device(const DeviceChoice& choice);

/// Takes this process's device, before anything else uses one; the CPU backend does nothing. Throws InputError like
/// place_on_device.
void open_device(const DeviceChoice& choice);

/// Memory of the device on which this process computes (on the CPU the node's), at this moment.
struct DeviceRoom {
  std::string device;         ///< unique on its node; processes with the same name share the memory
  std::size_t free = 0;       ///< held by nobody
  std::size_t total = 0;      ///< the most that all processes may hold together
  bool may_be_freed = false;  ///< memory of others may become free: a system swaps and shrinks caches, a GPU does not
};
DeviceRoom device_room();

/// What a process holds of its device in addition to the memory plan. Measured on one machine; needs no device.
struct MemoryBesidePlan {
  std::size_t bytes = 0;
  std::string what;          ///< "the program and its libraries"
  bool host_copies = false;  ///< host and device share one memory, so it also holds the host's copies of the state
  std::string shown_by;      ///< the tool that shows both together: "nvidia-smi"
};
MemoryBesidePlan memory_beside_plan();

/// What this process holds (on a GPU: what all processes hold of it), for the report at the end: "the process held at
/// most 1.2 GiB".
std::string memory_in_use_text();

/// "CPU with vectors of 16 floats", or the card's name: for the first log lines of a run.
std::string device_text();

/// What the last bits of results depend on, besides the program, its libraries and the shapes: "vectors of 16 floats".
/// All ranks of a run must agree on it. Empty if there is nothing.
std::string arithmetic_text();

}  // namespace penstock
