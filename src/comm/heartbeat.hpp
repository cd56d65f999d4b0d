// SPDX-License-Identifier: Apache-2.0
#pragma once
// Heartbeat: carries the knowledge of the ranks' watchdogs from rank to rank.

#include <mpi.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/watchdog.hpp"

namespace penstock {

/// A thread of its own sends and receives letters (beat_steps says to whom), on a communicator of its own. Nothing
/// waits for a letter: a rank that has not received the last one is skipped.
class Heartbeat {
 public:
  /// Collective over all ranks. The watchdog outlives it.
  Heartbeat(Watchdog& watchdog, int rank, int size);
  /// Collective; if the others do not come, it leaves without them after a few seconds.
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  /// The watchdog's deadline has changed: beats at once, and at the new pace.
  void renew();

 private:
  struct Letter {
    std::vector<RankState> states;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void run(const std::stop_token& stop);
  void tell_next();
  void tell_of_the_end();
  void send(int to);
  void listen();
  bool take_letter();
  bool all_sent();
  void part();

  Watchdog* watchdog_;
  int rank_;
  int size_;
  MPI_Comm handle_ = MPI_COMM_NULL;
  std::vector<int> steps_;
  std::size_t next_ = 0;
  std::map<int, Letter> sent_;  ///< the last one to each rank
  Letter incoming_;
  std::size_t goodbyes_ = 0;  ///< received; each rank that sends to this one sends one
  bool told_of_the_end_ = false;
  bool renewed_ = false;
  std::mutex mutex_;  // of renewed_
  std::condition_variable_any stopped_;
  std::jthread thread_;
};

}  // namespace penstock
