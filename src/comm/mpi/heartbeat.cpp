// SPDX-License-Identifier: Apache-2.0
#include "comm/heartbeat.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "comm/world.hpp"

namespace penstock {

namespace {

constexpr int tag = 0;
constexpr int goodbye = 1;  // the tag of a rank's last, empty letter

}  // namespace

Heartbeat::Heartbeat(Watchdog& watchdog, int rank, int size)
    : watchdog_(&watchdog), rank_(rank), size_(size), steps_(beat_steps(size)) {
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &handle_));
  MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN);
  listen();
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Heartbeat::~Heartbeat() {
  thread_.request_stop();
  thread_.join();
  part();
  MPI_Comm_free(&handle_);
}

void Heartbeat::renew() {
  const std::lock_guard lock(mutex_);
  renewed_ = true;
  stopped_.notify_all();
}

void Heartbeat::run(const std::stop_token& stop) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point next_beat = Clock::now();
  while (!stop.stop_requested()) {
    const std::chrono::duration<double> beat(watchdog_->beat_seconds());
    while (take_letter()) continue;
    if (Clock::now() >= next_beat) {
      for (int letter = 0; letter < letters_a_beat; ++letter) tell_next();
      next_beat = Clock::now() + std::chrono::duration_cast<Clock::duration>(beat);
    }
    if (watchdog_->ending()) tell_of_the_end();
    std::unique_lock lock(mutex_);
    if (stopped_.wait_for(lock, stop, beat / 4, [this] { return renewed_; })) next_beat = Clock::now();
    renewed_ = false;
  }
}

void Heartbeat::tell_next() {
  send((rank_ + steps_[next_]) % size_);
  next_ = (next_ + 1) % steps_.size();
}

// Rank 0 reports for all, so it is notified at once.
void Heartbeat::tell_of_the_end() {
  if (told_of_the_end_) return;
  told_of_the_end_ = true;
  if (rank_ != 0) send(0);
}

void Heartbeat::send(int to) {
  Letter& letter = sent_[to];
  int done = 1;
  if (letter.request != MPI_REQUEST_NULL && MPI_Test(&letter.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return;
  if (!done) return;  // it has not received the last one yet
  letter.states = watchdog_->beat();
  MPI_Isend(letter.states.data(), static_cast<int>(letter.states.size() * sizeof(RankState)), MPI_BYTE, to, tag,
            handle_, &letter.request);
}

void Heartbeat::listen() {
  incoming_.states.resize(static_cast<std::size_t>(size_));
  MPI_Irecv(incoming_.states.data(), static_cast<int>(incoming_.states.size() * sizeof(RankState)), MPI_BYTE,
            MPI_ANY_SOURCE, MPI_ANY_TAG, handle_, &incoming_.request);
}

// Receives one letter, if one has arrived.
bool Heartbeat::take_letter() {
  int done = 0;
  MPI_Status status;
  if (MPI_Test(&incoming_.request, &done, &status) != MPI_SUCCESS || !done) return false;
  if (status.MPI_TAG == goodbye)
    ++goodbyes_;
  else
    watchdog_->hear(incoming_.states);
  listen();
  return true;
}

bool Heartbeat::all_sent() {
  return std::all_of(sent_.begin(), sent_.end(), [](auto& entry) {
    int done = 0;
    return MPI_Test(&entry.second.request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done;
  });
}

// MPI must not end with letters in flight: every rank receives what the others still send, up to their goodbye.
void Heartbeat::part() {
  using Clock = std::chrono::steady_clock;
  constexpr auto patience = std::chrono::seconds(5);
  const auto give_up = Clock::now() + patience;
  std::vector<MPI_Request> goodbyes(steps_.size(), MPI_REQUEST_NULL);
  for (std::size_t i = 0; i < steps_.size(); ++i)
    MPI_Isend(nullptr, 0, MPI_BYTE, (rank_ + steps_[i]) % size_, goodbye, handle_, &goodbyes[i]);
  int said = 0;
  while (Clock::now() < give_up && !(said && goodbyes_ == steps_.size() && all_sent())) {
    take_letter();
    MPI_Testall(static_cast<int>(goodbyes.size()), goodbyes.data(), &said, MPI_STATUSES_IGNORE);
    sched_yield();
  }
  MPI_Cancel(&incoming_.request);
  MPI_Request_free(&incoming_.request);
}

}  // namespace penstock
