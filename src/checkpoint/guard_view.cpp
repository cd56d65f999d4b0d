#include "checkpoint/guard_view.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>

namespace penstock {

namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Opened, not looked at by name: a network file system then asks the server and not its memory.
std::optional<double> silence_of(const std::filesystem::path& guard) {
  const int file = open(guard.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  struct stat status {};
  const int result = fstat(file, &status);
  close(file);
  if (result != 0) return std::nullopt;
  return now_seconds() -
         (static_cast<double>(status.st_mtim.tv_sec) + 1e-9 * static_cast<double>(status.st_mtim.tv_nsec));
}

}  // namespace

std::optional<GuardView> look_at_guard(const std::filesystem::path& folder, const GuardTimes& times) {
  const std::filesystem::path guard = folder / "guard";
  const std::optional<double> silence = silence_of(guard);
  if (!silence) return std::nullopt;
  std::ifstream file(guard);
  std::ostringstream text;
  text << file.rdbuf();
  GuardView view{.holder = GuardHolder::parse(text.str()).value_or(GuardHolder{}), .silent_seconds = *silence};
  const HolderState state = judge(view.holder, GuardHolder::this_process(), start_ticks_of(view.holder.process));
  view.alive = state == HolderState::alive || (state == HolderState::unknown && *silence <= times.stale_seconds);
  return view;
}

}  // namespace penstock
