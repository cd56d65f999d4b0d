// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the system says of a process of this machine.

#include <cstdint>
#include <optional>

namespace penstock {

struct ProcessStat {
  char state = '?';              ///< R, S, D, ...
  std::int64_t start_ticks = 0;  ///< since boot: a process number is used again, with other ticks

  /// It has ended; its parent has not asked for it yet.
  bool ended() const { return state == 'Z' || state == 'X'; }
};

/// /proc/<process>/stat. Nothing where no process has this number, or it may not be seen. Takes no memory: it is asked
/// inside steps, by waits that last.
std::optional<ProcessStat> stat_of_process(std::int64_t process);

}  // namespace penstock
