// SPDX-License-Identifier: Apache-2.0
#pragma once
// World: this process among the ranks of the job. Control messages (small, rare) and the one wait.

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "comm/heartbeat.hpp"
#include "comm/watchdog.hpp"

namespace penstock {

/// Whether this is the first of the tasks that a launcher started, according to its variables. Decides which task
/// prints when there is no World yet.
bool is_first_task();

/// Throws SystemError with MPI's own text unless `code` is MPI_SUCCESS.
void check_mpi(int code, std::source_location where = std::source_location::current());

/// How a program or a part of it failed, in a form that all ranks share.
struct Failure {
  int exit_code = 1;
  std::string message;
};

/// The failure of an exception: InputError has exit code 2, anything else 1.
Failure failure_of(const std::exception& error);

/// All ranks have agreed to leave, with this one message (which rank 0 prints).
class CollectiveFailure : public std::runtime_error {
 public:
  explicit CollectiveFailure(Failure failure) : std::runtime_error(failure.message), failure_(std::move(failure)) {}
  int exit_code() const { return failure_.exit_code; }

 private:
  Failure failure_;
};

/// What is waited for, in words; only called if a wait is long.
using WaitText = std::function<Awaited()>;

/// Starts and ends MPI (MPI_THREAD_MULTIPLE). In between, except when communicators are made, all waiting for other
/// ranks in this process goes through `wait`, because MPICH spins without yielding and never notices a lost peer.
/// `wait` tests, yields, then sleeps, and checks whether the processes of this host's ranks still run. The watchdog
/// knows about it and ends the job when there is no progress. (It also knows about the destructor's waits.) All ranks
/// must call "collective" methods in the same order, on the thread that made the World (but see `broadcast`).
class World {
 public:
  /// Throws InputError in a world of one if the launcher started several tasks: then it belongs to another MPI, and all
  /// tasks are alone. The first of them throws; the other processes end with code 0.
  World();
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Nodes are numbered by their lowest rank; ranks of one node share memory.
  int node() const { return node_of_[static_cast<std::size_t>(rank_)]; }
  int node_of(int rank) const { return node_of_[static_cast<std::size_t>(rank)]; }
  int nodes() const { return nodes_; }
  /// Ranks below this one on its node.
  int rank_on_node() const;
  /// Name of this process's host.
  static std::string host();
  MPI_Comm handle() const { return MPI_COMM_WORLD; }

  /// Waits for all requests. If the deadline passes and no rank makes progress, the watchdog ends the job with a report
  /// that names `what`. Safe to call from several threads.
  void wait(std::span<MPI_Request> requests, const WaitText& what);
  void wait(std::span<MPI_Request> requests, std::string_view what) {
    wait(requests, [what] { return Awaited(what); });
  }
  void wait(MPI_Request request, std::string_view what) { wait(std::span(&request, 1), what); }
  /// Waits like `wait` until `done` returns true, for other things than requests (a thread of this process, a device).
  /// Each change of `progress`, if given, restarts the deadline.
  void wait_until(const std::function<bool()>& done, std::string_view what,
                  const std::function<std::uint64_t()>& progress = {});

  /// Work is handed to a device while it lives. A device that does not get on takes no more at some time, and the host
  /// then stands in calls that know no deadline: the watchdog ends the job when for so long no rank gets on and this
  /// one has not said that it `moved`.
  class HandOver {
   public:
    HandOver(World& world, std::string_view what) : wait_(*world.watchdog_, Watchdog::Wait::Kind::enclosing) {
      wait_.tell(Awaited(what));
    }

   private:
    Watchdog::Wait wait_;
  };
  /// This rank gets on. On the thread that made the World.
  void moved() { watchdog_->moved(); }

  void set_deadline(double seconds);
  /// Seconds that this thread has waited for requests so far.
  double waited_seconds() const { return waited_seconds_; }
  /// Ranks of this host whose processes have ended since the World was made, as text: "rank 2 (process 4711)"; empty if
  /// there are none. Processes that cannot be seen (another PID namespace) count as alive.
  std::string lost_ranks() const;

  /// Sets the source of this rank's place in the schedule; called on this thread whenever it waits.
  void set_place(PlaceSource place) { watchdog_->set_place(std::move(place)); }
  /// Sets how a report is stored when the job ends by itself; called on any thread.
  void set_failure_keeper(FailureKeeper keeper) { watchdog_->set_keeper(std::move(keeper)); }

  /// Collective: every rank gets the bytes of `root`. Here and in the next two, `among` is another communicator of all
  /// ranks, with which a second thread may talk to its peers at the same time as the first.
  std::vector<std::byte> broadcast(std::vector<std::byte> bytes, int root = 0, MPI_Comm among = MPI_COMM_WORLD);
  std::string broadcast(const std::string& text, int root = 0, MPI_Comm among = MPI_COMM_WORLD);
  /// Collective: every rank's text, in rank order, on every rank.
  std::vector<std::string> gather(const std::string& text, MPI_Comm among = MPI_COMM_WORLD);
  /// Collective: the largest of all ranks' values.
  std::int64_t largest(std::int64_t value, MPI_Comm among = MPI_COMM_WORLD);
  /// Collective: returns when every rank has called it.
  void barrier();

  /// Collective: throws CollectiveFailure on all ranks if any rank has a failure: that of the lowest such rank.
  void agree(const std::optional<Failure>& mine);
  /// Collective: runs `action` on this rank, then all ranks agree on the outcome.
  void together(const std::function<void()>& action);
  /// Collective: the result of `make` on this rank, if it succeeded on all.
  template <typename Make>
  auto make_together(const Make& make) {
    std::optional<std::invoke_result_t<Make>> made;
    together([&] { made.emplace(make()); });
    return std::move(*made);
  }

  /// Reports the message with rank and place, and ends the whole job without unwinding; exit code 1.
  [[noreturn]] void abort(std::string_view message);

 private:
  template <typename Done>
  void wait_loop(Done&& done, const WaitText& what, const std::function<std::uint64_t()>& progress);
  void find_nodes();
  void find_neighbours();

  int rank_ = 0;
  int size_ = 1;
  int nodes_ = 1;
  std::vector<int> node_of_;
  struct Neighbour {
    int rank;
    int process;
  };
  std::vector<Neighbour> neighbours_;  ///< other ranks of this host whose processes can be seen
  std::thread::id owner_ = std::this_thread::get_id();
  double waited_seconds_ = 0;  ///< of the owner
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<Heartbeat> heartbeat_;  ///< if there are other ranks
};

}  // namespace penstock
