// SPDX-License-Identifier: Apache-2.0
#pragma once
// The guard of a run's folder: two run attempts that write in one folder destroy each other's work. This happens: a
// requeued job starts while a rank of its first start keeps running on a node that was cut off.
//
// Every file of the folder is first written under a temporary name, and its writer asks the guard before the file gets
// its final name. A run attempt that has taken the guard, and has passed everything that may refuse it, removes all
// temporary files, and then looks once more for a newer checkpoint than the one it has loaded. So what an older attempt
// does is either there when the newer one looks, or fails because its temporary file is gone: there is no moment
// between asking and naming in which it could do harm. Until then the newer one has changed nothing: if it is refused,
// even the guard of the older one is put back.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/error.hpp"

namespace penstock {

/// The holder of a folder: the contents of the file `guard`, as JSON.
struct GuardHolder {
  std::string host = {};
  std::string boot = {};  ///< the system's boot id
  std::int64_t process = 0;
  std::int64_t start_ticks = 0;  ///< of the process, since boot: a process number is used again, with other ticks
  std::string attempt = {};      ///< of this start of the program, unlike any other
  std::string started = {};      ///< local time, for people
  std::int64_t epoch = 1;        ///< one more than that of the former holder
  std::string job = {};          ///< of Slurm, with its cluster; empty without Slurm
  std::int64_t requeues = 0;     ///< of that job before this run attempt
  std::string space = {};        ///< PID namespace of the process number (base/process); empty: unknown

  /// False: a guard that is empty or damaged.
  bool is_named() const { return !attempt.empty(); }
  std::string json() const;
  /// Nothing if the text is not that of a guard.
  static std::optional<GuardHolder> parse(const std::string& text);
  /// This process, as a new run attempt.
  static GuardHolder this_process();
  bool operator==(const GuardHolder&) const = default;
};

/// "process 4711 on node17, since ...", for messages.
std::string words_of(const GuardHolder& holder);

enum class HolderState {
  alive,    ///< a process that runs and can be seen from here
  dead,     ///< it could be seen from here, and no longer runs
  unknown,  ///< on another machine, boot or container, or hidden: only its heartbeat can tell
};

/// What can be seen from here of a process with some number.
struct SeenProcess {
  bool runs = false;                             ///< a process with this number; in doubt, yes
  std::optional<std::int64_t> start_ticks = {};  ///< since boot; nothing if it is hidden, or none runs
};
SeenProcess see_process(std::int64_t process);

/// Judges another holder from the position of `me`. `seen` is the process that has its number here; it is the holder
/// only in the same PID namespace of the same boot, because a container has its own numbers. A host name proves
/// nothing, since two machines may have the same. Another boot id means another machine, or this one after a reboot.
/// The kernel may give the number of an ended namespace to a new one; then the holder has ended, too, and its start
/// ticks differ from those of every process of the new one.
HolderState judge(const GuardHolder& other, const GuardHolder& me, const SeenProcess& seen);

/// Whether `me` is a later start of the same Slurm job: Slurm has ended the other one, even if its heart still beats.
bool supersedes(const GuardHolder& me, const GuardHolder& other);

/// A holder that cannot be seen from here is judged by the time of change of its file:
///  - It is alive if that time changes, in either direction, while the file is watched.  - It is stale if the folder's
///    clock is stale_seconds past that time. The clock is asked once. The rest of stale_seconds is measured by our own
///    clock, since the clock of a file server may jump.  - A time in the future (such a clock jumped back) says nothing
///    of the past: the file is stale if its time does not  move
///    for patience_seconds of watching.
struct GuardTimes {
  double heartbeat_seconds = 10;  ///< between two touches of the file
  double look_seconds = 1;        ///< between two checks whether another run attempt has taken it
  double stale_seconds = 60;      ///< a guard whose holder cannot be seen is stale after this time without a touch
  double leaving_seconds = 5;  ///< how long a living holder that can be seen (ranks of a killed job) may take to leave
  double patience_seconds = 75;  ///< how long to watch a guard that is dated in the future
  double ending_seconds = 30;    ///< how long a run attempt that lost its folder may take to end by itself
};

/// The folder belongs to another run attempt, or the guard is gone: this one writes nothing more. If that cannot be
/// known, a plain SystemError is thrown.
class FolderLost : public SystemError {
 public:
  using SystemError::SystemError;
};

/// The life that holds a run's folder; empty where none does. Throws SystemError where the guard cannot be read.
std::string attempt_of_guard(const std::filesystem::path& folder);

/// Holds the file `guard` in a run's folder from construction to destruction, and touches it from a thread of its own.
/// Only for rank 0. A guard whose holder ended without cleaning up is taken over, with a line in the log; so is one of
/// a run attempt that this one supersedes, alive or not.
class RunGuard {
 public:
  /// Throws InputError, with host, process, time and the cures, if a living holder has the folder. The folder must
  /// exist. Waits while it is not clear whether a holder that cannot be seen from here is alive.
  explicit RunGuard(const std::filesystem::path& folder, GuardTimes times = {},
                    GuardHolder me = GuardHolder::this_process());
  /// Ends this run attempt if another has its folder and it does not end by itself (it waits for ranks of a lost node).
  void end_by(std::function<void(const std::string& message)> end);
  ~RunGuard();
  RunGuard(const RunGuard&) = delete;
  RunGuard& operator=(const RunGuard&) = delete;

  /// The run attempt begins: removes unfinished files of others in the folder. Afterwards none of them can give a file
  /// there its name. A RunGuard that is destroyed before puts back the guard that it took over.
  void remove_what_others_began();

  const GuardHolder& holder() const { return me_; }
  /// Also false if the guard cannot be read.
  bool still_mine() const;
  /// Whether another run attempt was seen to hold the folder: then this one writes nothing more and must end. Does not
  /// look again.
  bool lost() const { return lost_; }
  /// To be called before a file gets its name, from any thread: throws FolderLost, with the new holder, if the folder
  /// is lost, and SystemError if the guard cannot be read.
  void ensure_mine() const;

 private:
  enum class Standing { mine, others, gone, damaged, unreadable };
  struct Look {
    Standing standing = Standing::gone;
    std::optional<GuardHolder> holder = {};
    std::string problem = {};  // about an unreadable guard
  };

  bool try_to_take();
  bool may_be_taken(const std::string& text);
  void take_over(const std::string& stale);
  Look look() const;
  std::string loss(const Look& seen) const;
  void beat(const std::stop_token& stop);

  // The guard that was taken over; removed with its owner.
  struct SetAside {
    std::filesystem::path file = {};
    ~SetAside();
  };

  std::filesystem::path file_;
  SetAside set_aside_;
  GuardTimes times_;
  GuardHolder me_;
  int descriptor_ = -1;  // of our own file, so that a heartbeat never touches another's
  mutable std::atomic<bool> lost_{false};
  std::function<void(const std::string&)> end_;
  std::mutex mutex_;  // of end_
  std::condition_variable_any stopped_;
  std::jthread heart_;
};

}  // namespace penstock
