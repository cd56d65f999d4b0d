// SPDX-License-Identifier: Apache-2.0
#pragma once
// A GPT that is small enough for every test, as a plan and as one rank of a running model.

#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/random.hpp"
#include "pipeline/executor.hpp"
#include "schedule/generate.hpp"
#include "schedule/lower.hpp"

namespace penstock::test {

/// What a test chooses; all else follows from it.
struct TinySetup {
  int data = 1;
  int pipeline = 1;
  int tensor = 1;
  int stages = 0;  ///< with a table that is given; 0: as the schedule has
  bool sequence_parallel = true;
  bool shard = true;
  double dropout = 0;
  int microbatches = 4;  ///< of the global batch
  DType compute = DType::float32;
  DType gradient = DType::float32;
  ScheduleName schedule = ScheduleName::one_forward_one_backward;
  Backward backward = Backward::split;
  Recompute recompute = Recompute::none;
  int chunks = 0;  ///< of the schedule; 0: its own number
  int layers = 4;
  std::string family = "gpt2";
  int pattern = 0;  ///< what the bytes of the arena hold before the model is built

  ScheduleRequest request() const {
    return {.name = schedule,
            .pipeline = pipeline,
            .microbatches = microbatches / data,
            .chunks = chunks,
            .backward = backward};
  }
  int ranks() const { return data * pipeline * tensor; }
  std::string text() const {
    return fmt::format("data {} pipeline {} tensor {} stages {} {} shard {} {} {} {} chunks {} recompute {} {}", data,
                       pipeline, tensor, stages, sequence_parallel ? "sequence-parallel" : "whole rows", shard,
                       name_of(compute), penstock::text(schedule), penstock::text(backward), chunks,
                       penstock::text(recompute), family);
  }
};

inline constexpr std::int64_t tiny_micro = 2, tiny_sequence = 8;

/// Beyond GPT-2 every family has something of its own: copied heads of keys from so many tensor ranks on, heads whose
/// channels are not the width's, ties, rotations, a window.
inline ModelConfig tiny_config(double dropout, int layers = 4, const std::string& family = "gpt2") {
  ModelConfig config{.family = family,
                     .layers = layers,
                     .width = 16,
                     .heads = 4,
                     .vocabulary = 40,
                     .positions = 10,
                     .dropout_embedding = dropout,
                     .dropout_residual = dropout,
                     .dropout_attention = dropout};
  if (family == "gpt2") return config;
  config.hidden = 20;
  config.kv_heads = family == "qwen2" ? 1 : 2;
  config.tied = family == "qwen2" || family == "mistral";
  if (family == "qwen3") config.head_channels = 6;
  if (family == "mistral") config.window = 5;
  if (family == "llama") {
    config.attention_bias = config.mlp_bias = true;
    config.rope_scaling = ops::RotaryScaling::llama3;
    config.rope_factor = 4;
    config.rope_original = 4;
  }
  return config;
}

inline const std::vector<std::string> rotary_families{"llama", "mistral", "qwen2", "qwen3"};

/// With `computing` instead of a generated schedule, or `lowered` as it is, when there is one.
inline ModelPlan tiny_plan(const TinySetup& setup, const Schedule* computing = nullptr,
                           const Schedule* lowered = nullptr) {
  ModelPlan plan;
  plan.model =
      std::make_shared<const ModelDescription>(describe_model(tiny_config(setup.dropout, setup.layers, setup.family)));
  plan.cut = {.tensor = setup.tensor,
              .sequence_parallel = setup.sequence_parallel,
              .compute = setup.compute,
              .gradient = setup.gradient};
  plan.recompute.assign(static_cast<std::size_t>(setup.pipeline), setup.recompute);
  // An epsilon of the size of the gradients makes an update a smooth function of them: with the usual one the first
  // update is the gradient's sign, and a rounding turns that of an element whose gradient is zero in truth.
  plan.optimizer = {.learning_rate = 0.01, .epsilon = 1e-3, .shard = setup.shard};
  plan.seed = 11;
  plan.micro = tiny_micro;
  plan.sequence = tiny_sequence;
  const int stages = setup.stages > 0 ? setup.stages : setup.pipeline * chunks_of(setup.request());
  plan.parts = balanced_partition(stages, part_costs(*plan.model, plan.sequence));
  plan.schedule =
      lowered ? *lowered : lower(computing ? *computing : generate(setup.request()), {.tied = plan.model->tied});
  plan.parameters = model_parameters(*plan.model, plan.cut, plan.parts);
  return plan;
}

inline Mesh tiny_mesh(const TinySetup& setup) {
  return Mesh({{"pipeline", setup.pipeline}, {"data", setup.data}, {"tensor", setup.tensor}});
}

/// The tokens of a global batch: random, the same on every rank; targets are random, too.
class TinyBatch {
 public:
  TinyBatch(int microbatches, std::uint64_t first_sample) : microbatches_(microbatches), first_sample_(first_sample) {
    const RandomKey key = random_key(23, "tokens");
    const auto count = static_cast<std::uint64_t>(microbatches * tiny_micro * tiny_sequence);
    for (std::uint64_t i = 0; i < count; ++i) {
      const RandomWords words = random_words(key, first_sample * tiny_sequence + i);
      tokens_.push_back(static_cast<std::int32_t>(words[0] % 40));
      targets_.push_back(static_cast<std::int32_t>(words[1] % 40));
    }
  }

  /// The part of one data rank: contiguous microbatches.
  StepTokens part(int data, int data_ranks) const {
    const int own = microbatches_ / data_ranks;
    StepTokens part;
    for (int m = data * own; m < (data + 1) * own; ++m)
      part.microbatches.push_back({first_sample_ + static_cast<std::uint64_t>(m * tiny_micro),
                                   tokens_.data() + m * tiny_micro * tiny_sequence,
                                   targets_.data() + m * tiny_micro * tiny_sequence});
    return part;
  }
  StepTokens all() const { return part(0, 1); }
  std::int64_t tokens() const { return static_cast<std::int64_t>(tokens_.size()); }

 private:
  int microbatches_;
  std::uint64_t first_sample_;
  std::vector<std::int32_t> tokens_, targets_;
};

/// One rank of a running model, with everything it needs.
class TinyRank {
 public:
  TinyRank(World& world, const TinySetup& setup, const Schedule* computing = nullptr, const Schedule* lowered = nullptr)
      : TinyRank(world, tiny_plan(setup, computing, lowered), tiny_mesh(setup), setup.pattern) {}

  TinyRank(World& world, ModelPlan plan, const Mesh& mesh, int pattern = 0)
      : plan_(std::move(plan)),
        place_(mesh, world.rank() % mesh.size()),
        communicators_(std::make_unique<Communicators>(communicators_of(plan_, world, queue_, mesh))) {
    DeviceMemory memory(plan_memory(plan_, place_, queue_.threads()).total());
    memory_ = {memory.data(), memory.bytes()};
    if (pattern != 0) std::memset(memory.data(), pattern, memory.bytes());
    arena_ = std::make_unique<Arena>(std::move(memory));
    model_ = std::make_unique<RankModel>(plan_, place_, queue_.threads(), &queue_, communicators_.get(), *arena_);
    executor_ = std::make_unique<Executor>(world, *model_, *communicators_, queue_);
    model_->parameters().initialize(plan_.seed);
    model_->optimizer().publish(queue_);
  }

  /// The whole model on this rank alone, whatever the world's size.
  static TinyRank alone(World& world, TinySetup setup) {
    setup.data = setup.pipeline = setup.tensor = 1;
    setup.stages = setup.chunks = 0;
    setup.schedule = ScheduleName::one_forward_one_backward;
    return {world, tiny_plan(setup), Mesh(), setup.pattern};
  }

  const ModelPlan& plan() const { return plan_; }
  const MeshPlace& place() const { return place_; }
  RankModel& model() { return *model_; }
  ParameterSet& parameters() { return model_->parameters(); }
  Executor& executor() { return *executor_; }
  Queue& queue() { return queue_; }
  Communicators& communicators() { return *communicators_; }
  /// All that the model holds.
  std::span<const std::byte> memory() const { return memory_; }

  /// Of a global batch what this rank's replica works through.
  StepTokens part_of(const TinyBatch& batch) const {
    return batch.part(place_.at(Axis::data), place_.ranks_along(Axis::data));
  }

  StepResult train(const TinyBatch& batch, std::int64_t update) {
    return executor_->train(
        part_of(batch), {.update = update, .learning_rate = plan_.optimizer.learning_rate, .tokens = batch.tokens()});
  }

  /// The table's loss without an update.
  double evaluate(const Schedule& schedule, const StepTokens& tokens, const StepValues& values) {
    return executor_->evaluate(model_->row_of(schedule), tokens, values);
  }

  /// Places of one microbatch in a stage's memory, for who calls the stage without a schedule.
  StagePlaces places(int stage) const {
    StagePlaces places{.activations = {}, .held = {}, .end = 0, .head = 0};
    for (int block = 0; block < model_->stage(stage).stage.part().blocks; ++block) {
      places.activations.push_back(block);
      places.held.push_back(model_->row().needs().backward == BackwardHalves::fused ? 0 : block);
    }
    return places;
  }

  /// Loads a microbatch as the executor does.
  MicrobatchView load(const StepTokens& tokens, int microbatch) {
    const StepTokens::Microbatch& from = tokens.microbatches[static_cast<std::size_t>(microbatch)];
    std::copy_n(from.tokens, tiny_micro * tiny_sequence, model_->tokens(microbatch).data<std::int32_t>());
    std::copy_n(from.targets, tiny_micro * tiny_sequence, model_->targets(microbatch).data<std::int32_t>());
    *model_->first_sample(microbatch) = from.first_sample;
    return {.microbatch = microbatch,
            .tokens = model_->tokens(microbatch),
            .targets = model_->targets(microbatch),
            .first_sample = model_->first_sample(microbatch)};
  }

 private:
  ModelPlan plan_;
  MeshPlace place_;
  Queue queue_;
  std::unique_ptr<Communicators> communicators_;
  std::unique_ptr<Arena> arena_;
  std::span<const std::byte> memory_;
  std::unique_ptr<RankModel> model_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace penstock::test
