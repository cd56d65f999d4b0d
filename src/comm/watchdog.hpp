// SPDX-License-Identifier: Apache-2.0
#pragma once
// Watchdog: knows every wait of this rank and the last news from the others, and ends the job when no rank makes
// progress.

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

/// Where this rank is, and its row of the schedule with the place marked; called on the thread that set it.
struct PlaceSource {
  std::function<Place()> place;
  std::function<std::string()> row;
};

/// Stores a report where it outlives the job. Returns whether it is the job's first; only that one is printed.
using FailureKeeper = std::function<bool(const FailureReport&)>;

/// A thread of its own watches the waits. It calls no MPI, so it can end the job whatever the other threads are stuck
/// in. A wait is too long if for `deadline` seconds it does not end and no rank that is heard from makes progress. Then
/// rank 0 reports, for whichever rank it was; if rank 0 is silent or stuck, the first of the others does. Each process
/// ends by itself, because MPI_Abort can hang when a link is cut.
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
    /// An enclosing wait surrounds work that may wait in many places: its time starts again whenever this rank makes
    /// progress, and it is reported only if no inner wait says more.
    enum class Kind { innermost, enclosing };
    explicit Wait(Watchdog& watchdog, Kind kind = Kind::innermost);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    /// Names its purpose, for reports; only a long wait needs to.
    void tell(const Awaited& what);
    /// There was progress: its time starts again.
    void renew();

   private:
    friend class Watchdog;
    Watchdog* watchdog_;
    Kind kind_;
    double since_;
    Awaited what_;
  };

  /// This rank made progress (a wait ended at once).
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
  /// The time between two heartbeats.
  double beat_seconds() const;

  /// Reports this rank's own trouble and ends the job; exit code 1.
  [[noreturn]] void end_job(const std::string& what);

 private:
  struct Trouble {
    int rank = 0;  ///< whose
    std::string what;
    bool of_wait = true;  ///< otherwise of an error
  };
  void watch(const std::stop_token& stop);
  std::optional<Trouble> look(double now);
  void report(const Trouble& trouble);
  void note_place();
  void note_wait(double now);
  double patience_seconds() const;

  std::function<void()> abort_job_;
  std::thread::id owner_ = std::this_thread::get_id();
  mutable std::mutex mutex_;  // protects all below
  std::condition_variable_any stopped_;
  RollCall roll_;
  std::vector<Wait*> waits_;
  double deadline_seconds_ = 600;
  double awake_since_;       ///< after a stop of the process: the time when it continued
  double ending_since_ = 0;  ///< 0: nothing is wrong
  bool leaving_ = false;
  std::vector<std::string> names_;
  PlaceSource place_;
  std::string row_;  ///< as of the last note
  FailureKeeper keeper_;
  std::jthread thread_;
};

}  // namespace penstock
