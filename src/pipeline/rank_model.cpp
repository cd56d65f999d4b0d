// SPDX-License-Identifier: Apache-2.0
#include "pipeline/rank_model.hpp"

#include <algorithm>

#include "base/fault.hpp"
#include "model/linear_shapes.hpp"
#include "ops/layer_norm.hpp"
#include "ops/rms_norm.hpp"
#include "ops/rotate.hpp"

namespace penstock {

namespace {

ModelShape shape_of(const ModelPlan& plan, const MeshPlace& place) {
  return {.model = plan.model.get(),
          .cut = plan.cut,
          .recompute = plan.recompute,
          .tensor_coordinate = place.at(Axis::tensor),
          .samples = plan.micro,
          .sequence = plan.sequence};
}

// A fused backward reads recomputed parts in the scratch that all blocks share; a split one holds them.
BlockMemory take_blocks(const ModelShape& shape, const RowNeeds& needs, const BlockActivations& shared, Arena& arena) {
  BlockMemory blocks;
  for (int i = 0; i < needs.activations; ++i)
    blocks.activations.push_back(take_activations(shape, kept_parts(shape), MemoryUse::activations, arena, shared));
  const BlockParts remade = needs.backward == BackwardHalves::fused ? BlockParts{} : held_parts(shape);
  for (int i = 0; i < needs.held; ++i) blocks.held.push_back(Block::take_held(shape, needs.backward, remade, arena));
  return blocks;
}

TiedPeers tied_peers(const ModelPlan& plan) {
  return {.first = plan.schedule.rank_of_stage(0), .last = plan.schedule.rank_of_stage(plan.schedule.stages - 1)};
}

}  // namespace

Communicators communicators_of(const ModelPlan& plan, World& world, Queue& queue, const Mesh& mesh) {
  std::vector<AxisSet> sets{{Axis::pipeline}, {Axis::tensor}, {Axis::copies}};
  for (const AxisSet& axes : Optimizer::groups(plan.parameters)) sets.push_back(axes);
  const int copies = copies_on_tensor_axis(*plan.model, plan.cut.tensor);
  Communicators made(world, queue, mesh.factored(Axis::tensor, Axis::copies, copies), sets);
  made.group({Axis::pipeline}).connect_ring();
  return made;
}

ParameterLayout parameter_layout(const ModelPlan& plan, const MeshPlace& place) {
  return {
      plan.parameters,
      {.stages = plan.schedule.stages_of_rank(place.at(Axis::pipeline)), .mesh = place, .shard = plan.optimizer.shard}};
}

namespace {

// Stages of a rank share the memory from input to weight gradients: if one of them splits these, all have room for it.
RankDuties duties_of(const ModelPlan& plan, int pipeline_rank) {
  RankDuties duties{.head = false, .fused = true, .input_only = false, .accumulates = plan.microbatches() > 1};
  for (const int stage : plan.schedule.stages_of_rank(pipeline_rank))
    duties.head |= plan.parts.at(static_cast<std::size_t>(stage)).head;
  for (const Action& action : plan.schedule.row(pipeline_rank))
    duties.input_only |= action.work == Work::input_gradient;
  duties.fused = !duties.input_only;
  return duties;
}

/// Calls visit(core) for each attention of a block.
template <typename Visit>
void for_each_attention(const ModelDescription& model, const Visit& visit) {
  for (const BlockDescription& kind : model.kinds)
    for (const BranchDescription& branch : kind.branches)
      if (const AttentionCore* attention = branch.attention()) visit(*attention);
}

/// The most bytes that a group adds at once. Sets of axes that span the same ranks of a mesh are one group.
class LargestSums {
 public:
  explicit LargestSums(const Mesh& mesh) : mesh_(mesh) {}
  void raise(const AxisSet& axes, std::size_t bytes) {
    if (axes.empty()) return;
    for (auto& [group, most] : groups_)
      if (mesh_.spanned(group) == mesh_.spanned(axes)) {
        most = std::max(most, bytes);
        return;
      }
    groups_.emplace_back(axes, bytes);
  }
  const std::vector<std::pair<AxisSet, std::size_t>>& groups() const { return groups_; }

 private:
  const Mesh& mesh_;
  std::vector<std::pair<AxisSet, std::size_t>> groups_;
};

}  // namespace

// The workspace of a rank's queue: the size that the most demanding operation needs.
std::size_t RankModel::workspace_bytes(int threads) const {
  std::size_t most = shape().model->norm == NormKind::rms
                         ? ops::rms_norm_workspace(shape().rows(), shape().width(), threads)
                         : ops::layer_norm_workspace(shape().rows(), shape().width(), threads);
  for_each_attention(*shape().model, [&](const AttentionCore& attention) {
    const ops::AttentionShape sizes = attention_shape(shape(), attention);
    most = std::max(most, ops::attention_workspace(sizes, shape().cut.compute, threads));
    if (attention.query_key_norm)
      most = std::max(most, ops::rotate_workspace(shape().tokens(), attention.head_channels, threads));
  });
  for (const ops::LinearShape& linear : linear_shapes(shape(), duties_of(*plan_, row_.rank())))
    most = std::max(most, ops::linear_workspace(linear, threads));
  return std::max(most, optimizer_.workspace_bytes());
}

// What queue and communicators compute in. The tensor axis adds products and gradients, replicas gradients, all ranks
// the norm.
void RankModel::lend_scratch(const MeshPlace& place, int threads, Queue* queue, Communicators* communicators,
                             Arena& arena) {
  const auto elements = static_cast<std::size_t>(shape().tokens() * shape().width());
  LargestSums sums(place.mesh());
  sums.raise({Axis::tensor}, elements * bytes_of(shape().partial()));
  std::size_t of_copies = 0;
  for (const Bucket& bucket : parameters_.layout().buckets()) {
    const std::size_t width = bytes_of(bucket.type_of_gradient(0));
    const std::size_t bytes = static_cast<std::size_t>(bucket.elements) * width;
    sums.raise(bucket.sums.inside, bytes);
    sums.raise(bucket.sums.across, planted(Fault::short_plan) ? 0 : bytes);
    for (const BucketRange& range : parameters_.layout().copied_ranges(plan_->parameters, bucket))
      of_copies = std::max(of_copies, static_cast<std::size_t>(range.elements) * width);
  }
  const auto take = [&](MemoryUse use, std::size_t bytes) {
    return arena.take(use, DType::uint8, {static_cast<std::int64_t>(bytes)});
  };
  const auto lend = [&](Communicator* group, std::size_t sum, int size) {
    const TensorView scratch = take(MemoryUse::buffers, Communicator::scratch_bytes(sum, size));
    if (group) group->use_scratch(scratch);
  };
  const auto group = [&](const AxisSet& axes) { return communicators ? &communicators->group(axes) : nullptr; };
  for (const auto& [axes, bytes] : sums.groups()) lend(group(axes), bytes, place.group_size(axes));
  lend(group({Axis::copies}), of_copies, copies_on_tensor_axis(*plan_->model, shape().cut.tensor));
  lend(communicators ? &communicators->all() : nullptr, Optimizer::norm_bytes(plan_->parameters.size()),
       place.mesh().size());
  const TensorView workspace = take(MemoryUse::workspace, workspace_bytes(threads));
  if (queue) queue->use_workspace(static_cast<std::byte*>(workspace.raw()), workspace.bytes());
}

RankModel::RankModel(const ModelPlan& plan, const MeshPlace& place, int threads, Queue* queue,
                     Communicators* communicators, Arena& arena)
    : plan_(&plan),
      parameters_(plan.parameters, parameter_layout(plan, place), arena),
      optimizer_(plan.optimizer, parameters_, communicators, tied_peers(plan), arena),
      rotary_(shape_of(plan, place), queue, arena),
      idle_begin_(arena.bytes_taken()),
      scratch_(shape_of(plan, place), arena),
      context_(shape_of(plan, place), plan.seed, queue, communicators ? &communicators->group({Axis::tensor}) : nullptr,
               parameters_, rotary_, scratch_),
      row_(queue ? RowPlan(plan.schedule, place.at(Axis::pipeline), plan.parts)
                 : RowPlan::of_needs(plan.schedule, place.at(Axis::pipeline), plan.parts)),
      blocks_(take_blocks(shape(), row_.needs(), scratch_.remade, arena)),
      idle_(arena.taken_since(idle_begin_)) {
  lend_scratch(place, threads, queue, communicators, arena);
  for (const auto& [stage, buffers] : row_.needs().buffers) {
    const StagePart& part = plan.parts.at(static_cast<std::size_t>(stage));
    StageMemory memory{
        .stage = Stage(context_, part, blocks_, row_.needs().head, arena), .outputs = {}, .gradients = {}};
    const auto take = [&] {
      return arena.take(MemoryUse::buffers, plan.cut.compute, {shape().rows(), shape().width()});
    };
    for (int i = 0; i < buffers.outputs; ++i) memory.outputs.push_back(take());
    for (int i = 0; i < buffers.gradients; ++i) memory.gradients.push_back(take());
    stages_.emplace(stage, std::move(memory));
  }
  tokens_ = arena.take(MemoryUse::buffers, DType::int32, {plan.microbatches() * shape().tokens()});
  targets_ = arena.take(MemoryUse::buffers, DType::int32, {plan.microbatches() * shape().tokens()});
  first_samples_ = arena.take(MemoryUse::buffers, DType::uint8, {plan.microbatches() * 8});
  tokens_on_host_ = StepMirror(tokens_.raw(), tokens_.bytes());
  targets_on_host_ = StepMirror(targets_.raw(), targets_.bytes());
  first_samples_on_host_ = StepMirror(first_samples_.raw(), first_samples_.bytes());
}

RowPlan RankModel::row_of(const Schedule& schedule) const {
  return {schedule, row_.rank(), plan_->parts, row_.needs()};
}

RankModel::HostInputs RankModel::host_inputs(int microbatch, std::int64_t step) const {
  const auto first = static_cast<std::size_t>(shape().tokens() * microbatch);
  const auto place = [&](const HostMirror& mirror, std::size_t bytes) { return mirror.data() + bytes; };
  return {.tokens = reinterpret_cast<std::int32_t*>(place(tokens_on_host_.of(step), first * sizeof(std::int32_t))),
          .targets = reinterpret_cast<std::int32_t*>(place(targets_on_host_.of(step), first * sizeof(std::int32_t))),
          .first_sample = reinterpret_cast<std::uint64_t*>(
              place(first_samples_on_host_.of(step), static_cast<std::size_t>(microbatch) * sizeof(std::uint64_t)))};
}

void RankModel::publish_inputs(Queue& queue, std::int64_t step) const {
  for (const StepMirror* mirror : {&tokens_on_host_, &targets_on_host_, &first_samples_on_host_})
    mirror->of(step).publish(queue);
}

RecomputeCost recompute_cost(const ModelPlan& plan) { return recompute_cost(shape_of(plan, {})); }

std::vector<ops::LinearShape> linear_shapes(const ModelPlan& plan) {
  RankDuties all{.head = true, .fused = false, .input_only = false, .accumulates = plan.microbatches() > 1};
  for (int rank = 0; rank < plan.schedule.pipeline; ++rank) {
    const RankDuties duties = duties_of(plan, rank);
    all.fused |= duties.fused;
    all.input_only |= duties.input_only;
  }
  return linear_shapes(shape_of(plan, {}), all);
}

void prepare_operations(Queue& queue, const ModelPlan& plan, const MeshPlace& place) {
  const ModelShape shape = shape_of(plan, place);
  for_each_attention(*plan.model, [&](const AttentionCore& attention) {
    ops::prepare_attention(queue, attention_shape(shape, attention), plan.cut.compute,
                           {.probability = attention.dropout, .key = {}});
  });
  ops::prepare_linears(queue, linear_shapes(shape, duties_of(plan, place.at(Axis::pipeline))));
}

MemoryPlan plan_memory(const ModelPlan& plan, const MeshPlace& place, int threads) {
  Arena arena;
  const RankModel model(plan, place, threads, nullptr, nullptr, arena);
  return arena.plan();
}

std::size_t staging_bytes(const ModelPlan& plan, const MeshPlace& place, bool staging) {
  return staging_bytes(parameter_layout(plan, place), staging);
}

std::size_t staging_bytes(const ParameterLayout& layout, bool staging) {
  std::size_t bytes = 0;
  for (const Bucket& bucket : layout.buckets()) {
    const auto own = static_cast<std::size_t>(bucket.own_end - bucket.own_begin);
    bytes += 3 * HostMirror::host_bytes(own * sizeof(float), staging);  // master weights and both moments
  }
  return bytes;
}

}  // namespace penstock
