// SPDX-License-Identifier: Apache-2.0
#include "device/queue.hpp"

namespace penstock {

// In a file of its own: a test links another answer, and launches steps ahead of each other here, too.
bool Queue::runs_behind_host() { return false; }

}  // namespace penstock
