// SPDX-License-Identifier: Apache-2.0
#pragma once
// Saver: checkpoints that are written behind the training.

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
/// most one save is in flight; the next one waits for it. A save that failed is tried again before it is given up; what
/// was saved before stays until the new file is durable. All ranks call in the same order. Dies before what it is made
/// of, and waits for the save in flight.
class Saver {
 public:
  struct Options {
    std::filesystem::path folder;  ///< of the checkpoints
    int keep = 0;                  ///< newest checkpoints that stay; 0: all
    int retries = 2;
    bool behind = true;                   ///< false: `save` returns when the save has ended, and nothing is copied
    std::function<void()> ensure_mine{};  ///< rank 0: throws when this life may not write any more
    std::function<void()> sync_rows{};    ///< rank 0: brings what a file must not outlive to the device, or throws
    std::function<void()> clear_line{};   ///< called before a line is logged
    std::function<void(double seconds)> took{};          ///< called after a good save
    std::function<void(const Warning& warning)> warn{};  ///< rank 0; without it the log has every warning
    bool whatever_the_state = false;                     ///< also one with weights that are infinite or NaN
    double pause_seconds = 1;  ///< before the second try; each further one waits four times as long
  };
  /// Of all ranks' `layouts`. What is referred to must outlive the Saver.
  Saver(World& world, Writers& writers, const std::vector<ParameterSpec>& specs,
        const std::vector<ParameterLayout>& layouts, ParameterSet& parameters, Options options);
  ~Saver();
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  /// Collective: waits for the save in flight, stages the state, and begins to write it.
  void save(Queue& queue, CheckpointMeta meta);
  /// Between steps, on this rank alone: tells what has become of the save in flight. Waits for nothing.
  void look();
  /// Collective: waits for the save in flight.
  void finish();

  /// The step of the newest checkpoint of this life that is durable, or -1. The same on all ranks after `finish`.
  std::int64_t saved_step() const { return saved_step_; }
  /// The step that was last to be saved, or the one that a life begins with; or -1. The same on all ranks.
  std::int64_t tried_step() const { return tried_step_; }
  /// Why the last save failed; empty where it did not.
  const std::string& why_not() const { return why_not_; }
  /// A state that is in the folder already: the one a life begins with.
  void take_as_saved(std::int64_t step) { saved_step_ = tried_step_ = step; }
  /// The last save was refused, as no step goes on from its state. On this rank, once it knows.
  bool refused_state() const { return refused_state_; }
  /// Rank 0: the last save failed because the folder is gone, or another life's, and so it still is.
  bool lost_folder() const { return lost_folder_ && !may_write(); }

 private:
  struct Flight {  // of one save; what its thread writes is read when `ended` is ready
    CheckpointMeta meta;
    Clock::time_point begin;
    std::atomic<double> staging_seconds{-1};
    Progress progress;
    std::vector<Warning> told;  // in their order
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
