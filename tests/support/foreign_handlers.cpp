// SPDX-License-Identifier: Apache-2.0
// A library that handles signals, as profilers and MPI's transports do: preloaded into a program it installs handlers,
// without an alternate stack, and does so again and again, so that they are there whatever MPI_Init installs. At the
// end it says how many signals they got.

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>

namespace {

std::atomic<int> handled{0};

void handle(int /*signal*/) { handled.fetch_add(1); }

void install() {
  struct sigaction action {};
  action.sa_handler = handle;
  sigfillset(&action.sa_mask);
  for (const int signal : {SIGCHLD, SIGALRM, SIGVTALRM, SIGPROF, SIGWINCH, SIGURG, SIGIO})
    sigaction(signal, &action, nullptr);
}

void* keep_installed(void* /*unused*/) {
  for (;;) {
    install();
    usleep(1000);
  }
}

// The thread itself takes no signal: those that are blocked everywhere else would come to it.
__attribute__((constructor)) void begin() {
  install();
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, keep_installed, nullptr) == 0) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

__attribute__((destructor)) void report() { std::fprintf(stderr, "foreign handlers got %d signals\n", handled.load()); }

}  // namespace
