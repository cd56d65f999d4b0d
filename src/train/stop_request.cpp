#include "train/stop_request.hpp"

#include <csignal>

namespace penstock {

namespace {

constexpr int signals[] = {SIGUSR1, SIGTERM, SIGINT};

// A signal handler can reach nothing but a static variable.
volatile std::sig_atomic_t received = 0;
void receive(int signal) { received = signal; }

}  // namespace

StopRequest::StopRequest() {
  received = 0;
  struct sigaction action {};
  action.sa_handler = receive;
  action.sa_flags = SA_RESTART;
  for (const int s : signals) sigaction(s, &action, nullptr);
}

StopRequest::~StopRequest() {
  for (const int s : signals) std::signal(s, SIG_DFL);
}

int StopRequest::signal() const { return received; }

}  // namespace penstock
