// SPDX-License-Identifier: Apache-2.0
#include "run/stop_request.hpp"

#include <array>
#include <condition_variable>
#include <ctime>
#include <initializer_list>
#include <mutex>
#include <stop_token>
#include <utility>

namespace penstock {

namespace {

constexpr std::array stop_signals{std::pair{SIGUSR1, "SIGUSR1"}, std::pair{SIGUSR2, "SIGUSR2"},
                                  std::pair{SIGTERM, "SIGTERM"}, std::pair{SIGINT, "SIGINT"},
                                  std::pair{SIGHUP, "SIGHUP"},   std::pair{SIGXCPU, "SIGXCPU"}};

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

// A blocked signal raised by an instruction would end the process without a message.
sigset_t asynchronous_signals() {
  sigset_t set;
  sigfillset(&set);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&set, signal);
  return set;
}

// A blocked signal stays pending even if it is ignored, so an ignored one must not be asked for. nohup ignores HUP.
bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// UCX installs its handler of HUP when it is loaded, which is before main. So the former disposition is noted before
// any library's constructor runs.
constinit bool hang_up_was_ignored = false;
void note_hang_up() { hang_up_was_ignored = is_ignored(SIGHUP); }
[[gnu::section(".preinit_array"), gnu::used]] void (*before_all_libraries)() = note_hang_up;

sigset_t signals_that_ask() {
  sigset_t set = set_of({});
  for (const auto& [signal, name] : stop_signals) sigaddset(&set, signal);
  if (hang_up_was_ignored || is_ignored(SIGHUP)) sigdelset(&set, SIGHUP);
  return set;
}

void keep_job_control(const std::stop_token& end) {
  const sigset_t open = set_of({SIGTSTP, SIGQUIT});
  pthread_sigmask(SIG_UNBLOCK, &open, nullptr);
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait(lock, end, [] { return false; });
}

}  // namespace

StopRequest::StopRequest() : asking_(signals_that_ask()) {
  const sigset_t set = asynchronous_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  job_control_ = std::jthread(keep_job_control);
}

int StopRequest::signal() {
  constexpr timespec at_once{0, 0};
  for (int taken = sigtimedwait(&asking_, nullptr, &at_once); taken > 0;
       taken = sigtimedwait(&asking_, nullptr, &at_once))
    received_ = taken;
  return received_;
}

std::string_view name_of_signal(int signal) {
  for (const auto& [number, name] : stop_signals)
    if (number == signal) return name;
  return "a signal";
}

}  // namespace penstock
