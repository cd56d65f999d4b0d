// SPDX-License-Identifier: Apache-2.0
#pragma once
// SpeedWatch: while a run goes on, names ranks that compute more slowly than the others, and slow links when steps have
// become longer.

#include <string>
#include <vector>

#include "pipeline/rank_model.hpp"
#include "train/link_probe.hpp"

namespace penstock {

/// What one rank's step took, seconds.
struct StepSeconds {
  double whole = 0;
  double computing = 0;  ///< without waits for other ranks. With NCCL these lie inside the tensor axis' products
};

class SpeedWatch {
 public:
  /// Steps that are looked at together; medians leave disturbances out.
  static constexpr int window = 20;
  /// A rank is slow when its computing takes longer than the median by more than this.
  static constexpr double slow = 1.2;
  /// Links are timed when a window's steps take longer than the fastest window's by more than this.
  static constexpr double slower = 1.2;

  /// `probe` outlives it. Stages differ in work: a rank's time is divided by the operations of its stages.
  SpeedWatch(World& world, LinkProbe& probe, const ModelPlan& plan, const Mesh& mesh);

  /// Collective, once a step. At the end of a window: lines for what is slow now and was not in the window before, the
  /// same on every rank.
  std::vector<std::string> add(const StepSeconds& step);
  /// Whether the next `add` ends a window: it may time links, in the device's idle memory.
  bool ends_window() const { return steps_.size() + 1 >= window; }

 private:
  std::vector<std::string> end_window();
  std::vector<std::string> slow_ranks(const std::vector<double>& computing);
  bool are_slower(const std::vector<double>& whole);

  World* world_;
  LinkProbe* probe_;
  std::vector<std::string> hosts_;
  std::vector<double> operations_;  ///< of each rank, as a part of the mean
  std::vector<StepSeconds> steps_;
  std::vector<bool> was_slow_;
  bool was_slower_ = false;
  double fastest_ = 0;  ///< median step of the fastest window
};

}  // namespace penstock
