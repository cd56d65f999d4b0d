// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, choice: which device this process computes on.

#include <cstddef>
#include <string>
#include <vector>

namespace penstock {

/// Names of the devices that this process may take, unique on its node (a GPU's UUID); none on the CPU backend. Throws
/// InputError where there is no device, or no driver that serves this program.
std::vector<std::string> visible_devices();

/// What is known of a rank before it has a device.
struct DeviceChoice {
  int rank_on_node = 0;                           ///< from 0 on
  std::vector<std::vector<std::string>> visible;  ///< visible_devices() of each rank of the node, in rank order
  int nodes = 1;
  bool share = false;  ///< several ranks may compute on one device (device.share)
};

/// Which device of its visible ones a rank takes.
struct DevicePlace {
  int index = 0;
  bool shared = false;  ///< ranks of this node meet on one device
};

/// In rank order each rank takes its first device that no other has taken: ranks that all see the same devices take one
/// after the other, and ranks that each see one of their own take that. Where none is left: throws InputError, or with
/// `share` hands the devices out once more, on a job's only node. Pure arithmetic.
DevicePlace place_on_device(const DeviceChoice& choice);

/// Takes this process's device, before anything else touches one; the CPU backend has nothing to take. Throws
/// InputError as place_on_device does.
void open_device(const DeviceChoice& choice);

/// Memory of the device that this process computes on (on the CPU the node's), as it is now.
struct DeviceRoom {
  std::string device;         ///< unique on its node; processes of one name share the memory
  std::size_t free = 0;       ///< nobody holds it
  std::size_t total = 0;      ///< all that processes may hold together
  bool may_be_freed = false;  ///< what others hold may still be had: the system swaps and shrinks, a GPU does not
};
DeviceRoom device_room();

/// What a process holds of its device beside the memory plan. Measured, so that it is of one machine; needs no device.
struct MemoryBesidePlan {
  std::size_t bytes = 0;
  std::string what;          ///< "the program and its libraries"
  bool host_copies = false;  ///< the host's memory is the device's: the host's copies of the state lie there, too
  std::string shown_by;      ///< the tool that shows plan and this together: "nvidia-smi"
};
MemoryBesidePlan memory_beside_plan();

/// What this process holds (on a GPU: what all processes hold of it), for the end of a run: "the process held at most
/// 1.2 GiB".
std::string memory_in_use_text();

/// "CPU with vectors of 16 floats", or the card's name: for the introduction of a run.
std::string device_text();

/// What makes the last bits of results, besides the program, its libraries and the shapes: "vectors of 16 floats".
/// Ranks of a run have to agree on it. Empty where nothing does.
std::string arithmetic_text();

}  // namespace penstock
