#include "comm/mpi/progress.hpp"

#include <chrono>

#include "comm/world.hpp"

namespace penstock {

namespace {

// Often enough to keep a TCP connection's buffers moving, seldom enough to cost a computing core less than a percent.
constexpr std::chrono::microseconds between_calls{500};
constexpr int own_rank = 0, own_tag = 0;  // on MPI_COMM_SELF, which nothing else uses

}  // namespace

Progress::Progress() {
  check_mpi(MPI_Irecv(nullptr, 0, MPI_BYTE, own_rank, own_tag, MPI_COMM_SELF, &last_));
  thread_ = std::thread([this] { run(); });
}

Progress::~Progress() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
  MPI_Send(nullptr, 0, MPI_BYTE, own_rank, own_tag, MPI_COMM_SELF);  // its receive is posted: nothing is waited for
  MPI_Wait(&last_, MPI_STATUS_IGNORE);
}

void Progress::opened() {
  {
    const std::lock_guard lock(mutex_);
    ++open_;
  }
  changed_.notify_one();
}

void Progress::closed() {
  const std::lock_guard lock(mutex_);
  --open_;
}

void Progress::run() {
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
    MPI_Test(&last_, &done, MPI_STATUS_IGNORE);
    lock.lock();
  }
}

}  // namespace penstock
