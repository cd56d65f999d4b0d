// SPDX-License-Identifier: Apache-2.0
#pragma once
// Engine: everything that one rank needs to compute a plan: queue, groups, memory, model, executor. It knows no run, no
// folder, no data.

#include <memory>
#include <optional>

#include "pipeline/executor.hpp"

namespace penstock {

struct EngineOptions {
  int threads = 1;      ///< of this rank's operations
  bool records = true;  ///< Queue::Options
};

/// The parts refer to each other, so an engine does not move. It is made in two steps: measuring products needs the
/// queue, and the device's memory before the arena has it.
class Engine {
 public:
  /// Collective: the queue and the groups. `world`, `plan` and `mesh` outlive the engine. Throws CollectiveFailure.
  Engine(World& world, const ModelPlan& plan, const Mesh& mesh, const MeshPlace& place, const EngineOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Collective, once: takes the planned memory and builds the model in it; its weights are still undefined. All
  /// handles and plans of libraries are made here: a step makes none. Throws CollectiveFailure.
  void take_memory();

  Queue& queue() { return *queue_; }
  Communicators& groups() { return *groups_; }
  /// After `take_memory`.
  RankModel& model() { return *model_; }
  Executor& executor() { return *executor_; }

 private:
  World* world_;
  const ModelPlan* plan_;
  MeshPlace place_;
  // In the order in which they are made; destroyed in the reverse order.
  std::optional<Queue> queue_;
  std::optional<Communicators> groups_;
  std::optional<Arena> arena_;
  std::unique_ptr<RankModel> model_;
  std::optional<Executor> executor_;
};

}  // namespace penstock
