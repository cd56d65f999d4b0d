// SPDX-License-Identifier: Apache-2.0
#include "train/stop_request.hpp"

#include <csignal>
#include <ctime>
#include <initializer_list>

namespace penstock {

namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) sigaddset(&set, signal);
  return set;
}

}  // namespace

StopRequest::StopRequest() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int StopRequest::signal() {
  const sigset_t set = stop_signals();
  constexpr timespec at_once{0, 0};
  for (int taken = sigtimedwait(&set, nullptr, &at_once); taken > 0; taken = sigtimedwait(&set, nullptr, &at_once))
    received_ = taken;
  return received_;
}

}  // namespace penstock
