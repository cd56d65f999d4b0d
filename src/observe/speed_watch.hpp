// SPDX-License-Identifier: Apache-2.0
#pragma once
// SpeedWatch: during a run, names ranks that compute more slowly than others, and slow links when steps have become
// longer.

#include <string>
#include <vector>

#include "base/warning_limit.hpp"
#include "observe/link_probe.hpp"
#include "pipeline/rank_model.hpp"

namespace penstock {

/// The times of one rank's step, seconds.
struct StepSeconds {
  double whole = 0;
  double computing = 0;  ///< without waits for other ranks. With NCCL these lie inside the tensor axis' products
};

/// A number for each rank: ranks with the same number have equal work in a step, as many blocks, embeddings and heads.
/// The operation counts of an embedding or a head say too little about their time for a comparison with blocks.
std::vector<int> kinds_of_work(const ModelPlan& plan, const Mesh& mesh);

class SpeedWatch {
 public:
  /// Steps that are judged together; medians leave disturbances out.
  static constexpr int window = 20;
  /// A rank is slow when its computing takes longer than the median of equal work by more than this.
  static constexpr double slow = 1.2;
  /// Links are timed when a window's steps take longer than the fastest window's by more than this.
  static constexpr double slower = 1.2;

  /// `probe` outlives it.
  SpeedWatch(World& world, LinkProbe& probe, const ModelPlan& plan, const Mesh& mesh);

  /// Collective, once for each step. At the end of a window: warnings about ranks and links that are slow now and were
  /// not in the window before, the same on every rank.
  std::vector<Warning> add(const StepSeconds& step);
  /// Whether the next `add` ends a window: it may time links, in the device's idle memory.
  bool ends_window() const { return steps_.size() + 1 >= window; }

 private:
  std::vector<Warning> end_window();
  std::vector<Warning> slow_ranks(const std::vector<double>& computing);
  std::vector<Warning> slower_than_themselves(const std::vector<double>& computing) const;
  std::string name_of(std::size_t rank) const;
  bool are_slower(const std::vector<double>& whole);

  World* world_;
  LinkProbe* probe_;
  std::vector<std::string> hosts_;
  std::vector<int> kinds_;  ///< of each rank's work
  std::vector<StepSeconds> steps_;
  std::vector<bool> was_slow_;
  std::vector<double> fastest_computing_;  ///< of each rank, in its fastest window
  bool was_slower_ = false;
  double fastest_ = 0;  ///< median step of the fastest window
};

}  // namespace penstock
