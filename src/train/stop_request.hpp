#pragma once
// Requests to stop: USR1, TERM and INT ask this process to save and leave after the step it is in.

#include <array>
#include <csignal>

namespace penstock {

/// Takes the signals from its construction on; at most one at a time. Restores the former handlers at its end.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// The signal that came last, or 0.
  int signal() const;

 private:
  std::array<struct sigaction, 3> former_{};
};

}  // namespace penstock
