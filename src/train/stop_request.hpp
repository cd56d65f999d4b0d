// SPDX-License-Identifier: Apache-2.0
#pragma once
// Requests to stop: USR1, TERM and INT ask this process to save and leave after the step it is in.

namespace penstock {

/// Blocks the signals and asks for them between steps. They must not be handled when they come: the kernel writes a
/// handler's frame where the stack pointer points, and machine code that oneDNN generates keeps other things there
/// (seen: heap corruption). To be made before MPI starts and before any thread is: threads inherit what is blocked. The
/// signals stay blocked to the end of the process, so that a second one cannot cut a shutdown short.
class StopRequest {
 public:
  StopRequest();

  /// The signal that came, or 0; remembered from then on.
  int signal();

 private:
  int received_ = 0;
};

}  // namespace penstock
