// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/guard_view.hpp"

#include <chrono>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "checkpoint/folder_time.hpp"

namespace penstock {

namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// A folder that may only be read does not tell its clock: this machine's has to do.
double clock_of(const std::filesystem::path& folder) try { return folder_clock(folder); } catch (const SystemError&) {
  return now_seconds();
}

}  // namespace

std::optional<GuardView> look_at_guard(const std::filesystem::path& folder, const GuardTimes& times) {
  const std::filesystem::path guard = folder / "guard";
  std::error_code error;
  if (!std::filesystem::is_regular_file(guard, error)) return std::nullopt;  // opening a pipe would wait
  const std::optional<double> changed = changed_at(guard);
  if (!changed) return std::nullopt;
  const double silence = clock_of(folder) - *changed;
  std::ifstream file(guard);
  std::ostringstream text;
  text << file.rdbuf();
  GuardView view{.holder = GuardHolder::parse(text.str()).value_or(GuardHolder{}), .silent_seconds = silence};
  const HolderState state = judge(view.holder, GuardHolder::this_process(), start_ticks_of(view.holder.process));
  view.alive = state == HolderState::alive || (state == HolderState::unknown && silence <= times.stale_seconds);
  return view;
}

}  // namespace penstock
