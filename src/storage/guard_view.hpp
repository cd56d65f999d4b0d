// SPDX-License-Identifier: Apache-2.0
#pragma once
// A look at a run folder's guard from outside, from any node; changes nothing.

#include <filesystem>
#include <optional>

#include "storage/run_guard.hpp"

namespace penstock {

struct GuardView {
  GuardHolder holder;
  double silent_seconds =
      0;  ///< since its last heartbeat, by the folder's clock; by this machine's if the folder may not be written
  bool alive = false;  ///< its process runs (this machine), or its heartbeat is not stale (another)
};

/// Nothing if the folder has no guard.
std::optional<GuardView> look_at_guard(const std::filesystem::path& folder, const GuardTimes& times = {});

}  // namespace penstock
