#include "pipeline/rank_model.hpp"

#include <algorithm>
#include <numeric>

#include "model/linear_shapes.hpp"
#include "ops/layer_norm.hpp"

namespace penstock {

namespace {

ModelShape shape_of(const ModelPlan& plan, const MeshPlace& place) {
  return {.config = plan.config,
          .cut = plan.cut,
          .recompute = plan.recompute,
          .tensor_coordinate = place.tensor,
          .samples = plan.micro,
          .sequence = plan.sequence};
}

// Whether the row ever parts a weight gradient of the stage from its input gradient.
BackwardHalves backward_of(const Schedule& schedule, int stage) {
  const std::vector<Action>& row = schedule.row(schedule.rank_of_stage(stage));
  const bool split = std::any_of(row.begin(), row.end(), [&](const Action& action) {
    return action.stage == stage && action.work == Work::input_gradient;
  });
  return split ? BackwardHalves::input_only : BackwardHalves::fused;
}

TiedPeers tied_peers(const ModelPlan& plan) {
  return {.first = plan.schedule.rank_of_stage(0), .last = plan.schedule.rank_of_stage(plan.schedule.stages - 1)};
}

}  // namespace

ParameterLayout parameter_layout(const ModelPlan& plan, const MeshPlace& place) {
  return {plan.parameters,
          {.stages = plan.schedule.stages_of_rank(place.pipeline),
           .tensor_coordinate = place.tensor,
           .data_coordinate = place.data,
           .data_ranks = place.data_ranks,
           .shard = plan.optimizer.shard}};
}

RankModel::RankModel(const ModelPlan& plan, const MeshPlace& place, Queue* queue, Communicators* communicators,
                     Arena& arena)
    : parameters_(plan.parameters, parameter_layout(plan, place), arena),
      optimizer_(plan.optimizer, parameters_, communicators, tied_peers(plan), arena),
      scratch_(shape_of(plan, place), arena),
      context_(shape_of(plan, place), plan.seed, queue, communicators ? &communicators->tensor : nullptr, parameters_,
               scratch_) {
  for (const StageNeeds& needs : stage_needs(plan.schedule, place.pipeline)) {
    const StagePart& part = plan.parts.at(static_cast<std::size_t>(needs.stage));
    const StageSlots slots{
        .activations = needs.activations, .held = needs.held, .backward = backward_of(plan.schedule, needs.stage)};
    StageMemory memory{.stage = Stage(context_, part, slots, arena), .outputs = {}, .gradients = {}};
    const auto take = [&] {
      return arena.take(MemoryUse::buffers, plan.cut.compute, {shape().rows(), shape().width()});
    };
    for (int i = 0; i < needs.outputs; ++i) memory.outputs.push_back(take());
    for (int i = 0; i < needs.gradients; ++i) memory.gradients.push_back(take());
    stages_.emplace(needs.stage, std::move(memory));
  }
  tokens_ = arena.take(MemoryUse::buffers, DType::int32, {plan.microbatches() * shape().tokens()});
  targets_ = arena.take(MemoryUse::buffers, DType::int32, {plan.microbatches() * shape().tokens()});
  first_samples_ = arena.take(MemoryUse::buffers, DType::uint8, {plan.microbatches() * 8});
  tokens_on_host_ = HostMirror(tokens_.raw(), tokens_.bytes());
  targets_on_host_ = HostMirror(targets_.raw(), targets_.bytes());
  first_samples_on_host_ = HostMirror(first_samples_.raw(), first_samples_.bytes());
}

RankModel::HostInputs RankModel::host_inputs(int microbatch) const {
  const auto first = static_cast<std::size_t>(shape().tokens() * microbatch);
  const auto place = [&](const HostMirror& mirror, std::size_t bytes) { return mirror.data() + bytes; };
  return {.tokens = reinterpret_cast<std::int32_t*>(place(tokens_on_host_, first * sizeof(std::int32_t))),
          .targets = reinterpret_cast<std::int32_t*>(place(targets_on_host_, first * sizeof(std::int32_t))),
          .first_sample = reinterpret_cast<std::uint64_t*>(
              place(first_samples_on_host_, static_cast<std::size_t>(microbatch) * sizeof(std::uint64_t)))};
}

void RankModel::publish_inputs(Queue& queue) const {
  for (const HostMirror* mirror : {&tokens_on_host_, &targets_on_host_, &first_samples_on_host_})
    mirror->publish(queue);
}

RecomputeCost recompute_cost(const ModelPlan& plan) { return recompute_cost(shape_of(plan, {})); }

namespace {

RankDuties duties_of(const ModelPlan& plan, const std::vector<int>& stages) {
  RankDuties duties{.head = false, .fused = false, .input_only = false};
  for (const int stage : stages) {
    duties.head |= plan.parts.at(static_cast<std::size_t>(stage)).head;
    (backward_of(plan.schedule, stage) == BackwardHalves::fused ? duties.fused : duties.input_only) = true;
  }
  return duties;
}

RankDuties duties_of(const ModelPlan& plan, const MeshPlace& place) {
  return duties_of(plan, plan.schedule.stages_of_rank(place.pipeline));
}

ops::AttentionShape attention_shape(const ModelShape& shape) {
  return {.samples = shape.samples,
          .sequence = shape.sequence,
          .heads = shape.heads(),
          .channels = shape.config.head_channels(),
          .repeatable = shape.cut.repeatable_attention};
}

// The one workspace of a rank's queue: what the operation that asks for most asks for.
std::size_t workspace_bytes(const ModelPlan& plan, const MeshPlace& place, const RankModel& model, int threads) {
  const ModelShape& shape = model.shape();
  std::size_t most = ops::attention_workspace(attention_shape(shape), plan.cut.compute, threads);
  most = std::max(most, ops::layer_norm_workspace(shape.rows(), shape.width(), threads));
  for (const ops::LinearShape& linear : linear_shapes(shape, duties_of(plan, place)))
    most = std::max(most, ops::linear_workspace(linear, threads));
  return std::max(most, model.optimizer().workspace_bytes());
}

}  // namespace

std::vector<ops::LinearShape> linear_shapes(const ModelPlan& plan) {
  std::vector<int> stages(static_cast<std::size_t>(plan.schedule.stages));
  std::iota(stages.begin(), stages.end(), 0);
  return linear_shapes(shape_of(plan, {}), duties_of(plan, stages));
}

void prepare_operations(Queue& queue, const ModelPlan& plan, const MeshPlace& place) {
  const ModelShape shape = shape_of(plan, place);
  ops::prepare_attention(queue, attention_shape(shape), plan.cut.compute,
                         {.probability = plan.config.dropout_attention, .key = {}});
  ops::prepare_linears(queue, linear_shapes(shape, duties_of(plan, place)));
}

MemoryPlan plan_memory(const ModelPlan& plan, const MeshPlace& place, int threads) {
  Arena arena;
  const RankModel model(plan, place, nullptr, nullptr, arena);
  const ModelShape& shape = model.shape();
  arena.count(MemoryUse::workspace, workspace_bytes(plan, place, model, threads));
  // What the communicators take to receive what they add: products on the tensor axis, gradients on the data axis.
  std::size_t tensor_scratch = 0, data_scratch = 0;
  const auto tensor_sum = [&](std::size_t bytes) {
    tensor_scratch = std::max(tensor_scratch, Communicator::scratch_bytes(bytes, plan.cut.tensor));
  };
  tensor_sum(static_cast<std::size_t>(shape.tokens() * shape.width()) * bytes_of(shape.partial()));
  for (const Bucket& bucket : model.parameters().layout().buckets()) {
    const auto bytes = static_cast<std::size_t>(bucket.elements) * sizeof(float);
    if (bucket.gradient == GradientOnTensorAxis::partial) tensor_sum(bytes);
    data_scratch = std::max(data_scratch, Communicator::scratch_bytes(bytes, place.data_ranks));
  }
  arena.count(MemoryUse::buffers, tensor_scratch + data_scratch);
  return arena.plan();
}

std::size_t staging_bytes(const ModelPlan& plan, const MeshPlace& place, bool staging) {
  const ParameterLayout layout = parameter_layout(plan, place);
  std::size_t bytes = 0;
  for (const Bucket& bucket : layout.buckets()) {
    const auto own = static_cast<std::size_t>(bucket.own_end - bucket.own_begin);
    bytes += 3 * HostMirror::host_bytes(own * sizeof(float), staging);  // master weights and both moments
  }
  return bytes;
}

std::size_t arena_bytes(const ModelPlan& plan, const MeshPlace& place) {
  Arena arena;
  const RankModel model(plan, place, nullptr, nullptr, arena);
  return arena.bytes_taken();
}

}  // namespace penstock
