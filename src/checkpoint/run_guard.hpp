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

namespace penstock {

/// Who holds a folder: what the file `guard` says, as JSON.
struct GuardHolder {
  std::string host = {};
  std::string boot = {};  ///< the system's boot id
  std::int64_t process = 0;
  std::int64_t start_ticks = 0;  ///< of the process, since boot: a process number is used again, with other ticks
  std::string life = {};         ///< of this start of the program, unlike any other
  std::string started = {};      ///< local time, for people
  std::int64_t epoch = 1;        ///< one more than that of the life it was taken over from
  std::string job = {};          ///< of Slurm, with its cluster; empty without
  std::int64_t requeues = 0;     ///< of that job before this life

  /// False: a guard that is empty or damaged.
  bool is_named() const { return !life.empty(); }
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
  alive,    ///< a process of this machine that runs
  dead,     ///< of this machine, and it does not run any more, or of an earlier boot
  unknown,  ///< of another machine: only its heartbeat can tell
};

/// When a process of this machine was started, in ticks since boot; nothing where none that runs has this number.
std::optional<std::int64_t> start_ticks_of(std::int64_t process);

/// Judges another holder from where `me` stands. `ticks_now` are the start ticks of the process by the holder's number
/// on this machine, if there is one.
HolderState judge(const GuardHolder& other, const GuardHolder& me, std::optional<std::int64_t> ticks_now);

/// Whether `me` is a later life of the same Slurm job: Slurm has ended the other one, whatever still beats.
bool supersedes(const GuardHolder& me, const GuardHolder& other);

struct GuardTimes {
  double heartbeat_seconds = 10;  ///< between two touches of the file
  double look_seconds = 1;        ///< between two looks whether another life has taken it
  double stale_seconds = 60;      ///< a guard of another machine that is not touched for so long is stale
  double leaving_seconds = 5;     ///< how long a living holder on this machine may take to leave: ranks of a killed job
  double patience_seconds = 75;   ///< how long to watch such a guard for a heartbeat, or until it is stale
  double ending_seconds = 30;     ///< how long a life that lost its folder may take to end by itself
};

/// The life that holds a run's folder; empty where none does.
std::string life_of_guard(const std::filesystem::path& folder);

/// Holds the file `guard` in a run's folder from construction to destruction, and touches it from a thread of its own.
/// For rank 0 alone. A guard whose life ended without cleaning up is taken over, with a line in the log; so is one of a
/// life that this one supersedes, alive or not.
class RunGuard {
 public:
  /// Throws InputError, with host, process, since when and the cures, when somebody who lives holds the folder. The
  /// folder must be there. Waits while it is not clear whether a holder on another machine lives.
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
  bool still_mine() const;
  /// Another life was seen to hold the folder: this one writes nothing more and has to end. Costs no look.
  bool lost() const { return lost_; }
  /// Throws SystemError, with the new holder, unless `still_mine`: to be called before a file gets its name. From any
  /// thread.
  void ensure_mine() const;

 private:
  bool try_to_take();
  void take_over(const std::string& stale);
  std::optional<GuardHolder> look() const;
  std::string loss() const;
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
