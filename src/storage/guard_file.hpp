// SPDX-License-Identifier: Apache-2.0
#pragma once
// The file `guard` of a run's folder, seen from outside: its text, and whether it is touched.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace penstock {

struct GuardTimes;

/// A guard's text; nothing if there is no such file. Throws SystemError if it cannot be read (no permission, no
/// descriptor left, a server that does not answer): that is no proof that it is gone.
std::optional<std::string> read_guard(const std::filesystem::path& guard);

enum class Pulse { beats, stale, gone };

/// Watches the guard of a holder that cannot be seen from here until it is known whether the holder is alive, by the
/// rule of GuardTimes. `now` is the folder's time; `before_waiting` is called if the answer is not known at once.
Pulse pulse_of(const std::filesystem::path& guard, double now, const GuardTimes& times,
               const std::function<void()>& before_waiting = {});

}  // namespace penstock
