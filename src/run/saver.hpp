// SPDX-License-Identifier: Apache-2.0
#pragma once
// Saver: writes checkpoints while training goes on.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/warning_limit.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/writers.hpp"
#include "parameter/parameter_set.hpp"

namespace penstock {

/// Copies the state ("staged") and writes it from a thread of its own while training goes on ("saved": durable). At
/// most one save is in flight; the next one waits for it. A failed save is tried again before it is given up; earlier
/// checkpoints stay until the new file is durable. All ranks must call in the same order. Its arguments must outlive
/// it; the destructor waits for the save in flight.
class Saver {
 public:
  struct Options {
    std::filesystem::path folder;  ///< of the checkpoints
    int keep = 0;                  ///< newest checkpoints that stay; 0: all
    int retries = 2;
    bool behind = true;                   ///< false: `save` returns when the save has ended, without a copy
    std::function<void()> ensure_mine{};  ///< rank 0: throws if this run attempt may no longer write
    std::function<void()>
        sync_rows{};  ///< rank 0: syncs files that must be on the device before a checkpoint, or throws
    std::function<void()> clear_line{};                  ///< called before a line is logged
    std::function<void(double seconds)> took{};          ///< called after a successful save
    std::function<void(const Warning& warning)> warn{};  ///< rank 0; without it every warning is logged
    bool whatever_the_state = false;                     ///< also saves a state with infinite or NaN weights
    double pause_seconds = 1;  ///< before the second try; each further pause is four times as long
  };
  /// `layouts`: of all ranks. The references must outlive the Saver.
  Saver(World& world, Writers& writers, const std::vector<ParameterSpec>& specs,
        const std::vector<ParameterLayout>& layouts, ParameterSet& parameters, Options options);
  ~Saver();
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  /// Collective: waits for the save in flight, stages the state, and begins to write it.
  void save(Queue& queue, CheckpointMeta meta);
  /// Between steps, on this rank only: reports the outcome of the save in flight. Does not wait.
  void look();
  /// Collective: waits for the save in flight.
  void finish();

  /// The step of the newest durable checkpoint of this run attempt, or -1. The same on all ranks after `finish`.
  std::int64_t saved_step() const { return saved_step_; }
  /// The last step that was to be saved, or the one with which a run attempt begins; or -1. The same on all ranks.
  std::int64_t tried_step() const { return tried_step_; }
  /// Why the last save failed; empty if it did not.
  const std::string& why_not() const { return why_not_; }
  /// Notes a state that the folder already has: the one with which a run attempt begins.
  void take_as_saved(std::int64_t step) { saved_step_ = tried_step_ = step; }
  /// The last save was refused because no step can continue from its state. On this rank, once it knows.
  bool refused_state() const { return refused_state_; }
  /// Rank 0: the last save failed because the folder is gone or belongs to another run attempt, and that is still so.
  bool lost_folder() const { return lost_folder_ && !may_write(); }

 private:
  struct Flight {  // one save; what its thread writes may be read when `ended` is ready
    CheckpointMeta meta;
    Clock::time_point begin;
    std::atomic<double> staging_seconds{-1};
    Progress progress;
    std::vector<Warning> told;  // in order
    SaveOutcome outcome;
    bool lost_folder = false;
    bool refused_state = false;
    bool told_staged = false;
    std::future<void> ended;
  };

  void write(Flight& flight);
  SaveOutcome try_once(Flight& flight);
  void pause(Flight& flight, double seconds);
  std::string what_nothing_goes_on_from();
  bool may_write() const;
  std::string what_is_left() const;
  void remove_old(Flight& flight);
  void tell_staged();
  void warn(const Warning& warning);
  void land();

  World& world_;
  Writers& writers_;
  const std::vector<ParameterSpec>& specs_;
  const std::vector<ParameterLayout>& layouts_;
  ParameterSet& parameters_;
  Options options_;
  std::unique_ptr<Flight> flight_;
  std::int64_t saved_step_ = -1;
  std::int64_t tried_step_ = -1;
  bool lost_folder_ = false;
  bool refused_state_ = false;
  std::string why_not_;
};

}  // namespace penstock
