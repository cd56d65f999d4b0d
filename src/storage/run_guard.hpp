// SPDX-License-Identifier: Apache-2.0
#pragma once
// The guard of a run's folder: two lives that write in one folder destroy each other's work, and it happens: a requeued
// job starts while a rank of its first life goes on behind a cut link.
//
// What gets a name in the folder is written under a temporary name first, and its writer asks the guard between the
// writing and the naming. A run attempt that has taken the guard, and is past all that may refuse it, removes all
// temporaries, and then looks once more whether there is a newer checkpoint than it has loaded. So what an older
// attempt does is either there when the newer one looks, or fails for want of its temporary: there is no moment between
// asking and naming in which it could still do harm. Until then the newer one has changed nothing: where it is refused,
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

/// Who holds a folder: what the file `guard` says, as JSON.
struct GuardHolder {
  std::string host = {};
  std::string boot = {};  ///< the system's boot id
  std::int64_t process = 0;
  std::int64_t start_ticks = 0;  ///< of the process, since boot: a process number is used again, with other ticks
  std::string attempt = {};      ///< of this start of the program, unlike any other
  std::string started = {};      ///< local time, for people
  std::int64_t epoch = 1;        ///< one more than that of the life it was taken over from
  std::string job = {};          ///< of Slurm, with its cluster; empty without
  std::int64_t requeues = 0;     ///< of that job before this life
  std::string space = {};        ///< PID namespace of its number (base/process); empty: not known

  /// False: a guard that is empty or damaged.
  bool is_named() const { return !attempt.empty(); }
  std::string json() const;
  /// Nothing when the text is not a guard's.
  static std::optional<GuardHolder> parse(const std::string& text);
  /// This process, with a new life.
  static GuardHolder this_process();
  bool operator==(const GuardHolder&) const = default;
};

/// "process 4711 on node17, since ...", for messages.
std::string words_of(const GuardHolder& holder);

enum class HolderState {
  alive,    ///< a process that runs and can be seen from here
  dead,     ///< it could be seen from here, and does not run any more
  unknown,  ///< of another machine, boot or container, or hidden: only its heartbeat can tell
};

/// What can be seen from here of the process by a number.
struct SeenProcess {
  bool runs = false;                             ///< one by this number; in doubt it does
  std::optional<std::int64_t> start_ticks = {};  ///< since boot; nothing where it is hidden, or none runs
};
SeenProcess see_process(std::int64_t process);

/// Judges another holder from where `me` stands. `seen` is the process that has its number here, and it is the holder's
/// only in the same PID namespace of the same boot: a container has numbers of its own. A host name proves nothing,
/// since two machines may share one. Another boot id is another machine, or this one after a reboot. The kernel may
/// give the number of a namespace that has ended to a new one; then the holder has ended with it, and has other start
/// ticks than any process of the new one.
HolderState judge(const GuardHolder& other, const GuardHolder& me, const SeenProcess& seen);

/// Whether `me` is a later life of the same Slurm job: Slurm has ended the other one, whatever still beats.
bool supersedes(const GuardHolder& me, const GuardHolder& other);

/// A holder that cannot be seen from here is judged by the time of change of its file:
///  - It lives if that time moves, in either direction, while the file is watched.
///  - It is stale if the folder's clock is stale_seconds past that time. The clock is asked once. What is left of
///    stale_seconds is measured by our own clock, since the clock of a file server may jump.
///  - A time in the future (such a clock jumped back) says nothing of the past: the file is stale if its time does not
///  move
///    for patience_seconds of watching.
struct GuardTimes {
  double heartbeat_seconds = 10;  ///< between two touches of the file
  double look_seconds = 1;        ///< between two looks whether another life has taken it
  double stale_seconds = 60;      ///< a guard whose holder cannot be seen and that is not touched for so long is stale
  double leaving_seconds = 5;    ///< how long a living holder that can be seen may take to leave: ranks of a killed job
  double patience_seconds = 75;  ///< how long to watch a guard that is dated in the future
  double ending_seconds = 30;    ///< how long a life that lost its folder may take to end by itself
};

/// The folder is another life's, or the guard is gone: this life writes nothing more. What cannot be known is a plain
/// SystemError.
class FolderLost : public SystemError {
 public:
  using SystemError::SystemError;
};

/// The life that holds a run's folder; empty where none does. Throws SystemError where the guard cannot be read.
std::string attempt_of_guard(const std::filesystem::path& folder);

/// Holds the file `guard` in a run's folder from construction to destruction, and touches it from a thread of its own.
/// For rank 0 alone. A guard whose life ended without cleaning up is taken over, with a line in the log; so is one of a
/// life that this one supersedes, alive or not.
class RunGuard {
 public:
  /// Throws InputError, with host, process, since when and the cures, when somebody who lives holds the folder. The
  /// folder must be there. Waits while it is not clear whether a holder that cannot be seen from here lives.
  explicit RunGuard(const std::filesystem::path& folder, GuardTimes times = {},
                    GuardHolder me = GuardHolder::this_process());
  /// What ends this life when another has its folder and it does not end by itself (it waits for ranks of a lost node).
  void end_by(std::function<void(const std::string& message)> end);
  ~RunGuard();
  RunGuard(const RunGuard&) = delete;
  RunGuard& operator=(const RunGuard&) = delete;

  /// The run attempt begins: what others have begun in the folder goes. Afterwards none of them can give anything there
  /// a name. A RunGuard that dies before puts the guard back that it took over.
  void remove_what_others_began();

  const GuardHolder& holder() const { return me_; }
  /// False also where the guard cannot be read.
  bool still_mine() const;
  /// Another life was seen to hold the folder: this one writes nothing more and has to end. Costs no look.
  bool lost() const { return lost_; }
  /// Throws FolderLost, with the new holder, where the folder is lost, and SystemError where the guard cannot be read:
  /// to be called before a file gets its name. From any thread.
  void ensure_mine() const;

 private:
  enum class Standing { mine, others, gone, damaged, unreadable };
  struct Look {
    Standing standing = Standing::gone;
    std::optional<GuardHolder> holder = {};
    std::string problem = {};  // of an unreadable guard
  };

  bool try_to_take();
  bool may_be_taken(const std::string& text);
  void take_over(const std::string& stale);
  Look look() const;
  std::string loss(const Look& seen) const;
  void beat(const std::stop_token& stop);

  // The guard that was taken over. It goes with its owner.
  struct SetAside {
    std::filesystem::path file = {};
    ~SetAside();
  };

  std::filesystem::path file_;
  SetAside set_aside_;
  GuardTimes times_;
  GuardHolder me_;
  int descriptor_ = -1;  // of our own file: a heartbeat never touches somebody else's
  mutable std::atomic<bool> lost_{false};
  std::function<void(const std::string&)> end_;
  std::mutex mutex_;  // of end_
  std::condition_variable_any stopped_;
  std::jthread heart_;
};

}  // namespace penstock
