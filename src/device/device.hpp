#pragma once
// SEAM 1, choice: which device this process computes on.

#include <string>

namespace penstock {

/// What is known of a rank before it has a device.
struct DeviceChoice {
  int rank_on_node = 0;   ///< from 0 on
  int ranks_on_node = 1;
  bool share = false;     ///< several ranks may compute on one device (device.share)
};

/// Takes this process's device, before anything else touches one; the CPU backend has nothing to take. Throws
/// InputError where there is no device, no driver for it, or fewer devices than ranks on this node.
void open_device(const DeviceChoice& choice);

/// "CPU", or the card's name: for the introduction of a run.
std::string device_text();

}  // namespace penstock
