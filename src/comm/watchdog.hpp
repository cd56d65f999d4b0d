// SPDX-License-Identifier: Apache-2.0
#pragma once
// Watchdog: knows every wait of this rank and what the other ranks last said, and ends the job when none of them gets
// on.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "comm/failure_report.hpp"
#include "comm/roll_call.hpp"

namespace penstock {

/// Where this rank is, and its row of the schedule with the place marked; asked on the thread that set it.
struct PlaceSource {
  std::function<Place()> place;
  std::function<std::string()> row;
};

/// Keeps a report where it outlives the job. Whether it is the first of its job: only that one is printed.
using FailureKeeper = std::function<bool(const FailureReport&)>;

/// A thread of its own looks after the waits: it calls no MPI, so that it can end the job whatever the others are stuck
/// in. A wait is too long when for `deadline` seconds neither it nor any rank that is heard of has got on. Then rank 0
/// reports, for whichever rank it was; where rank 0 is silent or stuck, the first of the others does; and each process
/// ends by itself, as MPI_Abort can hang behind a cut link.
class Watchdog {
 public:
  /// `abort_job` ends the ranks that can be reached; it may hang, and may return.
  Watchdog(int rank, int size, std::function<void()> abort_job);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// A wait for others, from construction to destruction. Belongs to one thread.
  class Wait {
   public:
    /// An enclosing one is around work that may have to wait at many places: it begins anew whenever this rank gets on,
    /// and is told of only where no wait inside says more.
    enum class Kind { innermost, enclosing };
    explicit Wait(Watchdog& watchdog, Kind kind = Kind::innermost);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    /// Says what it is for: for reports, so only a wait that lasts need say it.
    void tell(const Awaited& what);
    /// Something has moved: its time begins anew.
    void renew();

   private:
    friend class Watchdog;
    Watchdog* watchdog_;
    Kind kind_;
    double since_;
    Awaited what_;
  };

  /// This rank gets on (a wait has ended at once).
  void moved();

  void set_deadline(double seconds);
  double deadline() const;
  void set_names(std::vector<std::string> names);
  void set_place(PlaceSource source);
  void set_keeper(FailureKeeper keeper);

  /// For heartbeats.
  std::vector<RankState> beat();
  void hear(const std::vector<RankState>& states);
  bool ending() const;
  /// Between two heartbeats.
  double beat_seconds() const;

  /// Reports this rank's own trouble and ends the job; exit code 1.
  [[noreturn]] void end_job(const std::string& what);

 private:
  struct Trouble {
    int rank = 0;  ///< whose
    std::string what;
    bool of_wait = true;  ///< else of something that went wrong
  };
  void watch(const std::stop_token& stop);
  std::optional<Trouble> look(double now);
  void report(const Trouble& trouble);
  void note_place();
  void note_wait(double now);
  double patience_seconds() const;

  std::function<void()> abort_job_;
  std::thread::id owner_ = std::this_thread::get_id();
  mutable std::mutex mutex_;  // of all below
  std::condition_variable_any stopped_;
  RollCall roll_;
  std::vector<Wait*> waits_;
  double deadline_seconds_ = 600;
  double awake_since_;       ///< a process that was stopped counts from when it went on
  double ending_since_ = 0;  ///< 0: nothing is wrong
  bool leaving_ = false;
  std::vector<std::string> names_;
  PlaceSource place_;
  std::string row_;  ///< as of the last note
  FailureKeeper keeper_;
  std::jthread thread_;
};

}  // namespace penstock
