// SPDX-License-Identifier: Apache-2.0
#include "storage/guard_view.hpp"

#include <chrono>

#include "base/error.hpp"
#include "storage/folder_time.hpp"
#include "storage/guard_file.hpp"

namespace penstock {

namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The clock of a folder that may only be read is unknown, so this machine's is used.
double clock_of(const std::filesystem::path& folder) try { return folder_clock(folder); } catch (const SystemError&) {
  return now_seconds();
}

// An unreadable guard names nobody, but its heartbeat can still be seen.
GuardHolder holder_in(const std::filesystem::path& guard) {
  try {
    return GuardHolder::parse(read_guard(guard).value_or("")).value_or(GuardHolder{});
  } catch (const SystemError&) {
    return {};
  }
}

// By the rule of GuardTimes. A guard dated in the future must be watched.
bool is_alive(const GuardView& view, const std::filesystem::path& guard, double now, const GuardTimes& times) {
  const HolderState state = judge(view.holder, GuardHolder::this_process(), see_process(view.holder.process));
  if (state != HolderState::unknown) return state == HolderState::alive;
  if (view.silent_seconds >= -times.heartbeat_seconds) return view.silent_seconds <= times.stale_seconds;
  return pulse_of(guard, now, times) == Pulse::beats;
}

}  // namespace

std::optional<GuardView> look_at_guard(const std::filesystem::path& folder, const GuardTimes& times) {
  const std::filesystem::path guard = folder / "guard";
  std::error_code error;
  if (!std::filesystem::is_regular_file(guard, error)) return std::nullopt;  // opening a pipe would wait
  const std::optional<double> changed = changed_at(guard);
  if (!changed) return std::nullopt;
  const double now = clock_of(folder);
  GuardView view{.holder = holder_in(guard), .silent_seconds = now - *changed};
  view.alive = is_alive(view, guard, now, times);
  return view;
}

}  // namespace penstock
