// SPDX-License-Identifier: Apache-2.0
#include "optim/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include "base/fault.hpp"
#include "ops/elementwise.hpp"
#include "ops/sum.hpp"

namespace penstock {

namespace {

bool contains(const std::vector<int>& blocks, int block) {
  return std::find(blocks.begin(), blocks.end(), block) != blocks.end();
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, ParameterSet& parameters, Communicators* communicators,
                     TiedPeers tied, Arena& arena)
    : config_(config), parameters_(&parameters), tied_(tied) {
  for (const Bucket& bucket : parameters.layout().buckets())
    if (bucket.tied && bucket.uses == 1)
      tied_landing_ = arena.take(MemoryUse::buffers, DType::float32, {bucket.own_end - bucket.own_begin});
  totals_ = arena.take(MemoryUse::buffers, DType::float64, {1 + static_cast<std::int64_t>(parameters.specs().size())});
  const auto take = [&](std::size_t bytes) {
    return arena.take(MemoryUse::buffers, DType::uint8, {static_cast<std::int64_t>(bytes)});
  };
  inputs_ = take(sizeof(ops::StepInputs));
  scalars_ = take(sizeof(ops::StepScalars));
  inputs_on_host_ = StepMirror(inputs_.raw(), inputs_.bytes());
  if (scalars_.raw())
    for (HostMemory& result : results_) result = HostMemory(scalars_.bytes());
  for (const Bucket& bucket : parameters.layout().buckets()) {
    Traffic& traffic = traffic_.emplace_back();
    for (const BucketEntry& entry : bucket.entries)
      if (const int block = parameters.specs()[entry.parameter].block; !contains(traffic.blocks, block))
        traffic.blocks.push_back(block);
    traffic.copied = parameters.layout().copied_ranges(parameters.specs(), bucket);
    traffic.blocks_left = traffic.blocks.size();
    traffic.summed.reserve(static_cast<std::size_t>(bucket.uses));
  }
  update_pieces_ = update_pieces();
  norm_pieces_ = norm_pieces();
  if (communicators) join(*communicators);
}

void Optimizer::join(Communicators& communicators) {
  all_ = &communicators.all();
  const auto& buckets = parameters_->layout().buckets();
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const GradientSums& sums = buckets[b].sums;
    if (!sums.inside.empty()) traffic_[b].inside = &communicators.group(sums.inside);
    traffic_[b].across = &communicators.group(sums.across);
    if (!traffic_[b].copied.empty()) holders_ = &communicators.group({Axis::copies});
    if (buckets[b].tied && buckets[b].uses == 1) pipeline_ = &communicators.group({Axis::pipeline});
  }
}

std::vector<AxisSet> Optimizer::groups(const std::vector<ParameterSpec>& specs) {
  std::vector<AxisSet> groups;
  for (const ParameterSpec& spec : specs)
    for (const AxisSet& axes : {spec.sums.inside, spec.sums.across})
      if (std::find(groups.begin(), groups.end(), axes) == groups.end()) groups.push_back(axes);
  return groups;
}

bool Optimizer::has_replicas() const {
  return std::any_of(traffic_.begin(), traffic_.end(),
                     [](const Traffic& traffic) { return traffic.across && traffic.across->size() > 1; });
}

TensorView Optimizer::own_gradient(std::size_t bucket, std::size_t use) const {
  const Bucket& b = parameters_->layout().buckets()[bucket];
  const std::vector<TensorView>& gradients = parameters_->memory(bucket).gradients;
  return use < gradients.size() ? gradients[use].range(b.own_begin, b.own_end - b.own_begin) : TensorView{};
}

// One piece for each run of parameters with the same decay, within the own range. The padding in between is zero, and
// AdamW keeps it zero.
std::vector<ops::AdamWPiece> Optimizer::update_pieces() const {
  std::vector<ops::AdamWPiece> pieces;
  const auto& buckets = parameters_->layout().buckets();
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const Bucket& bucket = buckets[b];
    const std::vector<BucketEntry>& entries = bucket.entries;
    const auto decay = [&](std::size_t entry) { return parameters_->specs()[entries[entry].parameter].decay; };
    for (std::size_t first = 0, behind = 0; first < entries.size(); first = behind) {
      while (behind < entries.size() && decay(behind) == decay(first)) ++behind;
      const std::int64_t run_end = behind < entries.size() ? entries[behind].begin : bucket.elements;
      const std::int64_t begin = std::max(entries[first].begin, bucket.own_begin);
      const std::int64_t count = std::min(run_end, bucket.own_end) - begin;
      if (count > 0) pieces.push_back(update_piece(b, begin - bucket.own_begin, count, decay(first)));
    }
  }
  return pieces;
}

// Elements [begin, begin + count) of a bucket's own range.
ops::AdamWPiece Optimizer::update_piece(std::size_t bucket, std::int64_t begin, std::int64_t count, bool decay) const {
  const Bucket& b = parameters_->layout().buckets()[bucket];
  const BucketMemory& memory = parameters_->memory(bucket);
  const TensorView addend = own_gradient(bucket, 1);
  return {.master = memory.master.range(begin, count),
          .gradient = own_gradient(bucket).range(begin, count),
          .addend = addend.present() ? addend.range(begin, count) : TensorView{},
          .first_moment = memory.first_moment.range(begin, count),
          .second_moment = memory.second_moment.range(begin, count),
          .weight = b.type == DType::float32 ? TensorView{} : memory.weights.range(b.own_begin + begin, count),
          .decay = decay};
}

// The counted boxes of the own range, in the order of parameters: up to three neighbouring ones for each.
std::vector<ops::NormPiece> Optimizer::norm_pieces() const {
  std::vector<ops::NormPiece> pieces;
  for (const OwnedBox& owned : parameters_->layout().owned()) {
    if (!owned.counted && !planted(Fault::twice_counted)) continue;
    const std::int64_t begin = owned.box.local_begin, count = owned.box.elements();
    const TensorView addend = own_gradient(owned.bucket, 1);
    pieces.push_back({.tensor = own_gradient(owned.bucket).range(begin, count),
                      .addend = addend.present() ? addend.range(begin, count) : TensorView{},
                      .sum = totals_.range(1 + static_cast<std::int64_t>(owned.parameter), 1)});
  }
  return pieces;
}

void Optimizer::publish(Queue& queue) {
  parameters_->publish_state(queue);
  for (const ops::AdamWPiece& piece : update_pieces_)
    if (piece.weight.present()) ops::cast(queue, piece.master, piece.weight);
}

void Optimizer::begin_step(Queue& queue, const UpdateValues& values) {
  const auto t = static_cast<double>(values.number);
  number_ = values.number;
  brings_loss_ = values.brings_loss;
  const HostMirror& inputs = inputs_on_host_.of(number_);
  new (inputs.data())
      ops::StepInputs{.loss_tokens = static_cast<double>(values.loss_tokens),
                      .needs_the_last = values.needs_the_last,
                      .adamw = {.learning_rate = static_cast<float>(values.learning_rate),
                                .first_correction = static_cast<float>(1 / (1 - std::pow(config_.beta1, t))),
                                .second_correction = static_cast<float>(1 / (1 - std::pow(config_.beta2, t)))}};
  inputs.publish(queue);
}

void Optimizer::gather_parameters(Queue& queue) {
  ops::zero(queue, scalars_.range(offsetof(ops::StepScalars, loss_sum), sizeof(double)));
  const ParameterLayout& layout = parameters_->layout();
  if (!layout.place().shard) return;
  for (std::size_t b = 0; b < layout.buckets().size(); ++b) {
    const Bucket& bucket = layout.buckets()[b];
    const BucketMemory& memory = parameters_->memory(b);
    traffic_[b].gathered = traffic_[b].across->all_gather(
        memory.weights.range(bucket.own_begin, bucket.own_end - bucket.own_begin), memory.weights);
  }
  before_weights(outside_blocks);
}

void Optimizer::before_weights(int block) {
  for (Traffic& traffic : traffic_)
    if (contains(traffic.blocks, block)) traffic.across->wait(std::exchange(traffic.gathered, {}));
}

void Optimizer::behind_gradients(int block) {
  for (std::size_t b = 0; b < traffic_.size(); ++b)
    if (contains(traffic_[b].blocks, block) && --traffic_[b].blocks_left == 0) begin_sums(b);
}

void Optimizer::begin_sums(std::size_t bucket) {
  const Bucket& b = parameters_->layout().buckets()[bucket];
  const bool shard = parameters_->layout().place().shard;
  Traffic& traffic = traffic_[bucket];
  for (const TensorView gradient : parameters_->memory(bucket).gradients) {
    if (traffic.inside && !planted(Fault::unsummed_gradient))
      traffic.inside->wait(traffic.inside->all_reduce(gradient));
    for (const BucketRange& copied : traffic.copied)
      holders_->wait(holders_->all_reduce(gradient.range(copied.begin, copied.elements)));
    traffic.summed.push_back(
        shard ? traffic.across->reduce_scatter(gradient, gradient.range(b.own_begin, b.own_end - b.own_begin))
              : traffic.across->all_reduce(gradient));
  }
}

void Optimizer::reduce_gradients(Queue&) {
  for (std::size_t b = 0; b < traffic_.size(); ++b)
    if (traffic_[b].summed.empty()) begin_sums(b);
  for (Traffic& traffic : traffic_) {
    for (const Event& sum : traffic.summed) traffic.across->wait(sum);
    traffic.summed.clear();
    traffic.blocks_left = traffic.blocks.size();
  }
}

void Optimizer::sum_tied(Queue& queue) {
  constexpr int tied_tag = 1;  // transfers of stages use tags from 2 on
  const auto& buckets = parameters_->layout().buckets();
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    if (!buckets[b].tied || buckets[b].uses != 1) continue;
    const bool is_first = pipeline_->coordinate() == tied_.first;
    const int peer = is_first ? tied_.last : tied_.first;
    const TensorView own = own_gradient(b);
    pipeline_->wait(pipeline_->exchange(own, tied_landing_, peer, tied_tag));
    ops::add(queue, is_first ? own : tied_landing_, is_first ? tied_landing_ : own, own);
  }
}

void Optimizer::norm(Queue& queue) {
  ops::zero(queue, totals_);
  if (brings_loss_) copy_on_device(queue, loss_sum(), totals_.data<double>(), sizeof(double));
  ops::add_squared_norms(queue, norm_pieces_);
  all_->wait(all_->all_reduce(totals_));
  ops::finish_step(queue, {.totals = totals_, .clip = config_.clip, .inputs = inputs()}, scalars());
}

void Optimizer::update(Queue& queue) {
  const ops::AdamWConstants constants{.beta1 = config_.beta1,
                                      .beta2 = config_.beta2,
                                      .epsilon = static_cast<float>(config_.epsilon),
                                      .weight_decay = static_cast<float>(config_.weight_decay)};
  parameters_->hold_for_staging(queue);
  ops::adamw(queue, constants, &scalars()->adamw, update_pieces_);
}

void Optimizer::bring_result(Queue& queue) const {
  copy_to_host(queue, scalars_.raw(), result_on_host(number_), scalars_.bytes());
}

StepResult Optimizer::result(std::int64_t number) const {
  const auto* scalars = reinterpret_cast<const ops::StepScalars*>(result_on_host(number));
  return {.loss = scalars->loss, .gradient_norm = scalars->gradient_norm};
}

}  // namespace penstock
