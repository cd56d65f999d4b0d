// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/transfer_progress.hpp"

#include <chrono>

#include "comm/world.hpp"

namespace penstock {

namespace {

// Often enough to keep a TCP connection's buffers moving, and rarely enough to cost a computing core less than a
// percent.
constexpr std::chrono::microseconds between_calls{500};
constexpr int own_rank = 0, own_tag = 0;  // on MPI_COMM_SELF, where nobody sends

}  // namespace

TransferProgress::TransferProgress() {
  check_mpi(MPI_Irecv(nullptr, 0, MPI_BYTE, own_rank, own_tag, MPI_COMM_SELF, &never_));
  thread_ = std::thread([this] { run(); });
}

TransferProgress::~TransferProgress() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
  // A message to itself would be wrong: it would complete the oldest such receive of this process, possibly another
  // one's.
  MPI_Cancel(&never_);
  MPI_Request_free(&never_);
}

void TransferProgress::opened() {
  {
    const std::lock_guard lock(mutex_);
    ++open_;
  }
  changed_.notify_one();
}

void TransferProgress::closed() {
  const std::lock_guard lock(mutex_);
  --open_;
}

void TransferProgress::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (open_ == 0) {
      changed_.wait(lock);
      continue;
    }
    changed_.wait_for(lock, between_calls);
    if (waiting_) continue;
    lock.unlock();
    int done = 0;
    MPI_Test(&never_, &done, MPI_STATUS_IGNORE);
    lock.lock();
  }
}

}  // namespace penstock
