// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the system knows about processes, and where a process number is valid.

#include <cstdint>
#include <optional>
#include <string>

namespace penstock {

struct ProcessStat {
  char state = '?';              ///< R, S, D, ...
  std::int64_t start_ticks = 0;  ///< since boot: a process number is used again, with other ticks

  /// It has ended, and its parent has not collected it yet.
  bool ended() const { return state == 'Z' || state == 'X'; }
};

/// /proc/<process>/stat. Nothing if no process has this number, or it may not be seen. Takes no memory: long waits
/// inside steps call it.
std::optional<ProcessStat> stat_of_process(std::int64_t process);

/// Whether a process with this number runs, in this process's PID namespace. In doubt, yes: /proc may hide the
/// processes of other users (hidepid), and a file of it cannot be opened where descriptors are used up.
bool may_run(std::int64_t process);

/// The system's boot id, which identifies one start of one machine; its containers share it. Empty if unknown.
std::string boot_id();

/// The PID namespace of this process ("pid:[4026531836]"), within one boot id: a container has its own, with other
/// process numbers. Empty if unknown, or if /proc shows the processes of another namespace.
std::string pid_namespace();

}  // namespace penstock
