#include "train/stop_request.hpp"

namespace penstock {

namespace {

constexpr std::array<int, 3> signals{SIGUSR1, SIGTERM, SIGINT};

// A signal handler can reach nothing but a static variable.
volatile std::sig_atomic_t received = 0;
void receive(int signal) { received = signal; }

}  // namespace

StopRequest::StopRequest() {
  received = 0;
  struct sigaction action {};
  action.sa_handler = receive;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < former_.size(); ++i) sigaction(signals[i], &action, &former_[i]);
}

StopRequest::~StopRequest() {
  for (std::size_t i = 0; i < former_.size(); ++i) sigaction(signals[i], &former_[i], nullptr);
}

int StopRequest::signal() const { return received; }

}  // namespace penstock
