// SPDX-License-Identifier: Apache-2.0
#pragma once
// Signals of a training run: USR1, USR2, TERM, INT, HUP and XCPU ask it to save and leave after the step it is in. All
// others that come from outside are blocked.

#include <csignal>
#include <string_view>
#include <thread>

namespace penstock {

/// Blocks signals, and asks between steps for those that mean "stop". No handler may run on a thread that computes: the
/// kernel writes a handler's frame where the stack pointer points, and machine code that oneDNN generates keeps other
/// things there (seen: heap corruption). It does not matter who installs the handler: UCX has one for HUP, profilers
/// have one for PROF. So every asynchronous signal is blocked, on every thread. The object has to be made before MPI
/// starts and before any thread is made, since threads inherit what is blocked. Signals stay blocked to the end of the
/// process: a second one cannot cut a shutdown short.
///
/// Not blocked are what a thread's own instruction raises (SEGV, BUS, FPE, ILL, TRAP, SYS, ABRT); KILL and STOP, which
/// nobody can block; and glibc's own two. TSTP (Ctrl-Z) and QUIT (Ctrl-\) are open on one thread that does nothing
/// else, so that they still stop and end the process at once.
///
/// Nothing here needs a signal of those that are blocked: the launchers' PMI talks over a socket, MPICH's handler of
/// USR1 serves its fault tolerance, which is not used, UCX, CUDA and NCCL have threads of their own, and waitpid needs
/// no CHLD. Programs that are started get an empty mask (base/child_process).
class StopRequest {
 public:
  StopRequest();

  /// The signal that came, or 0; remembered from then on.
  int signal();

 private:
  sigset_t asking_;  ///< those that ask to stop
  int received_ = 0;
  std::jthread job_control_;  ///< TSTP and QUIT are open on it
};

/// "SIGTERM" of a signal that asks to stop.
std::string_view name_of_signal(int signal);

}  // namespace penstock
