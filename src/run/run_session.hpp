// SPDX-License-Identifier: Apache-2.0
#pragma once
// RunSession: one run attempt and its folder, from the first look to the record of how it ended.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/io_thread.hpp"
#include "comm/world.hpp"
#include "plan/step_agenda.hpp"
#include "run/run_folder.hpp"
#include "storage/run_guard.hpp"

namespace penstock {

/// Rank 0 holds the folder's guard and writes its records; the other ranks name files only. All ranks make one and call
/// its collective methods in the same order. Nothing in the folder changes before `begin`, but for the guard. After
/// `begin` the folder says "running" until `record` says how the attempt ended.
class RunSession {
 public:
  /// What --restart names.
  using Restart = std::optional<std::string>;

  /// Collective: checks the folder and, where it is there, takes its guard. `agenda` outlives the session. Throws
  /// CollectiveFailure where no run attempt may begin there.
  RunSession(World& world, std::filesystem::path folder, Restart restart, const StepAgenda& agenda);
  RunSession(const RunSession&) = delete;
  RunSession& operator=(const RunSession&) = delete;

  const RunFolder& folder() const { return folder_; }
  const Restart& restart() const { return restart_; }
  bool restarts_from_latest() const { return restart_ == "latest"; }

  /// Collective: the file that the attempt goes on from; none where it begins at step 0. Throws CollectiveFailure where
  /// the folder holds checkpoints and none is whole.
  std::optional<std::filesystem::path> checkpoint_to_load(IoThread& io);
  /// Throws InputError where the agenda leaves nothing to do after a checkpoint's step.
  void ensure_steps_are_left(std::int64_t step) const;

  /// Collective, after all checks that may refuse the run: removes what other attempts have begun in the folder.
  /// Returns whether one of those attempts, which this one supersedes, has saved a checkpoint since this one looked.
  /// Throws CollectiveFailure if this attempt, which begins after `step`, would replace another user's file.
  bool others_saved_meanwhile(std::int64_t step, const std::vector<std::int64_t>& capture_steps);

  /// Collective: makes the folder and records that an attempt runs, with `step` updates done. Throws CollectiveFailure,
  /// after removing what it made.
  void begin(std::int64_t step);
  /// The attempt ends before its first step: records that, and removes the folders that it made and left empty.
  void end_before_first_step(std::int64_t step, const CollectiveFailure& failure);
  /// Collective: whichever rank reports the end of a job that hangs writes it into the folder.
  void keep_failures();
  /// Rank 0 writes how the attempt ended, unless another one has the folder. A record that cannot be written is logged
  /// and does not change the outcome of the run.
  void record(const AttemptRecord& end);
  /// Gives the guard back.
  void leave() { guard_.reset(); }

  /// Rank 0: throws where this attempt may not write in the folder any more (RunGuard::ensure_mine).
  void ensure_mine() const {
    if (guard_) guard_->ensure_mine();
  }
  /// Rank 0: whether another attempt was seen to hold the folder. Does not look at the folder.
  bool is_lost() const { return guard_ && guard_->lost(); }
  /// Collective, where rank 0 has lost the folder: throws CollectiveFailure with the reason.
  [[noreturn]] void end_without_folder();

 private:
  void take_guard_if_there();
  void take_guard();
  void refuse_steps_of_another_run() const;
  void refuse_to_change_what_is_anothers(std::int64_t step, const std::vector<std::int64_t>& capture_steps) const;
  bool holds_checkpoint(std::int64_t step) const;
  void remove_what_was_made();

  World* world_;
  RunFolder folder_;
  Restart restart_;
  const StepAgenda* agenda_;
  std::unique_ptr<RunGuard> guard_;          ///< rank 0
  std::int64_t newest_seen_ = -1;            ///< rank 0: of the newest checkpoint, whole or not, at the last look
  std::vector<std::filesystem::path> made_;  ///< rank 0: folders that `begin` made, outermost first
};

}  // namespace penstock
