// SPDX-License-Identifier: Apache-2.0
#pragma once
// TransferProgress: a thread that moves messages while its rank computes.

#include <mpi.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace penstock {

/// MPI moves a message between hosts only inside its own calls: without one, a message posted before a computation
/// travels after it. This thread calls MPI every half millisecond while transfers are open and nobody waits for them,
/// and sleeps otherwise. (Ranks of one host copy through shared memory inside these calls; the thread would gain
/// nothing there.)
class TransferProgress {
 public:
  TransferProgress();
  ~TransferProgress();
  TransferProgress(const TransferProgress&) = delete;
  TransferProgress& operator=(const TransferProgress&) = delete;

  /// A transfer was posted; it has ended.
  void opened();
  void closed();
  /// The rank itself entered MPI, or left it.
  void set_waiting(bool waiting) { waiting_ = waiting; }

 private:
  void run();

  MPI_Request never_ = MPI_REQUEST_NULL;  ///< a receive that never completes: testing it moves all other messages
  std::atomic<bool> waiting_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  int open_ = 0;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace penstock
