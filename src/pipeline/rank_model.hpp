// SPDX-License-Identifier: Apache-2.0
#pragma once
// RankModel: everything that one rank holds of the model, built from a plan on one arena: parameters, optimizer,
// stages, and the buffers that its row of the schedule needs. On a planning arena it only counts bytes.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "mesh/mesh_place.hpp"
#include "model/model_parameters.hpp"
#include "model/stage.hpp"
#include "ops/linear.hpp"
#include "optim/optimizer.hpp"
#include "pipeline/row_plan.hpp"
#include "schedule/schedule.hpp"

namespace penstock {

/// The part of the plan that all ranks share.
struct ModelPlan {
  std::shared_ptr<const ModelDescription> model;
  ModelCut cut;
  Recompute recompute = Recompute::none;
  OptimizerConfig optimizer;
  std::uint64_t seed = 0;
  std::int64_t micro = 1;     ///< samples of a microbatch
  std::int64_t sequence = 1;  ///< tokens of a sample
  std::vector<StagePart> parts;
  Schedule schedule;  ///< lowered
  std::vector<ParameterSpec> parameters;

  std::int64_t microbatches() const { return schedule.microbatches; }
};

/// Collective over the world: the groups in which the ranks of a plan speak.
Communicators communicators_of(const ModelPlan& plan, World& world, Queue& queue, const Mesh& mesh);

/// The elements of parameters, master weights and moments that a rank keeps.
ParameterLayout parameter_layout(const ModelPlan& plan, const MeshPlace& place);

class RankModel {
 public:
  /// `threads`: of the queue. `queue` and `communicators`, which get their scratch from the arena, may be null on a
  /// planning arena. `plan` outlives the model. The object must not move: its parts refer to it.
  RankModel(const ModelPlan& plan, const MeshPlace& place, int threads, Queue* queue, Communicators* communicators,
            Arena& arena);
  RankModel(const RankModel&) = delete;
  RankModel& operator=(const RankModel&) = delete;

  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }
  Optimizer& optimizer() { return optimizer_; }
  const Optimizer& optimizer() const { return optimizer_; }
  ModelContext& context() { return context_; }
  const ModelShape& shape() const { return context_.shape(); }

  /// One of the stages here, with its buffers, [R, C] each.
  struct StageMemory {
    Stage stage;
    std::vector<TensorView> outputs;
    std::vector<TensorView> gradients;
  };
  StageMemory& stage(int number) { return stages_.at(number); }
  const std::map<int, StageMemory>& stages() const { return stages_; }
  const BlockMemory& blocks() const { return blocks_; }

  /// Memory that is free between two steps, as bytes (activations, and tensors that live for one action); measurements
  /// between steps use it. It has room for at least two tensors of a stage's output.
  TensorView idle() const { return idle_; }

  /// The row of the plan's schedule.
  const RowPlan& row() const { return row_; }
  /// The row of another schedule on the same stages, in this memory (an evaluation's, which outlives it).
  RowPlan row_of(const Schedule& schedule) const;

  TensorView tokens(int microbatch) const { return tokens_.range(shape().tokens() * microbatch, shape().tokens()); }
  TensorView targets(int microbatch) const { return targets_.range(shape().tokens() * microbatch, shape().tokens()); }
  std::uint64_t* first_sample(int microbatch) const {
    return reinterpret_cast<std::uint64_t*>(first_samples_.raw()) + microbatch;
  }

  /// Where the host writes the inputs of a microbatch, [N] tokens and targets; on the device after publish_inputs.
  struct HostInputs {
    std::int32_t* tokens;
    std::int32_t* targets;
    std::uint64_t* first_sample;
  };
  HostInputs host_inputs(int microbatch, std::int64_t step) const;
  /// Enqueues the copy of all inputs of a step. The host's memory may be reused for the next step but one once the
  /// device has passed this one.
  void publish_inputs(Queue& queue, std::int64_t step) const;

 private:
  std::size_t workspace_bytes(int threads) const;
  void lend_scratch(const MeshPlace& place, int threads, Queue* queue, Communicators* communicators, Arena& arena);

  const ModelPlan* plan_;
  ParameterSet parameters_;
  Optimizer optimizer_;
  RotaryTables rotary_;
  std::size_t idle_begin_;  ///< bytes of the arena taken before
  ModelScratch scratch_;
  ModelContext context_;
  RowPlan row_;
  BlockMemory blocks_;
  TensorView idle_;  ///< scratch_ and blocks_
  std::map<int, StageMemory> stages_;
  TensorView tokens_, targets_;  ///< [microbatches * N] int32
  TensorView first_samples_;     ///< [microbatches] uint64, as bytes
  StepMirror tokens_on_host_, targets_on_host_, first_samples_on_host_;
};

/// The policy's extra cost in one block's passes of one microbatch, on any rank.
RecomputeCost recompute_cost(const ModelPlan& plan);

/// The shapes of products on any rank, which are measured before a run.
std::vector<ops::LinearShape> linear_shapes(const ModelPlan& plan);

/// Creates the handles and plans of libraries that a rank's operations need, before step 1.
void prepare_operations(Queue& queue, const ModelPlan& plan, const MeshPlace& place);

/// The bytes of the arena of rank `place`, predicted without memory.
MemoryPlan plan_memory(const ModelPlan& plan, const MeshPlace& place, int threads);

/// Host memory in bytes of the host's copy of a rank's state, in addition to that plan; saves are written from it.
/// `staging`: training goes on during saves.
std::size_t staging_bytes(const ModelPlan& plan, const MeshPlace& place, bool staging);
std::size_t staging_bytes(const ParameterLayout& layout, bool staging);

}  // namespace penstock
