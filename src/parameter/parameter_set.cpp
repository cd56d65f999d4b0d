// SPDX-License-Identifier: Apache-2.0
#include "parameter/parameter_set.hpp"

#include <algorithm>

namespace penstock {

namespace {

float* floats(const HostMirror& mirror) { return reinterpret_cast<float*>(mirror.data()); }

const float* staged_floats(const HostMirror& mirror) { return reinterpret_cast<const float*>(mirror.staged()); }

}  // namespace

ParameterSet::ParameterSet(const std::vector<ParameterSpec>& specs, ParameterLayout layout, Arena& arena)
    : specs_(&specs), layout_(std::move(layout)) {
  for (const Bucket& bucket : layout_.buckets()) {
    const std::int64_t own = bucket.own_end - bucket.own_begin;
    BucketMemory memory;
    memory.weights = arena.take(MemoryUse::parameters, bucket.type, {bucket.elements});
    for (int use = 0; use < bucket.uses; ++use)
      memory.gradients.push_back(arena.take(MemoryUse::gradients, bucket.type_of_gradient(use), {bucket.elements}));
    memory.master = bucket.type == DType::float32 ? memory.weights.range(bucket.own_begin, own)
                                                  : arena.take(MemoryUse::optimizer, DType::float32, {own});
    memory.first_moment = arena.take(MemoryUse::optimizer, DType::float32, {own});
    memory.second_moment = arena.take(MemoryUse::optimizer, DType::float32, {own});
    const auto mirror = [](const TensorView& state) { return HostMirror(state.raw(), state.bytes()); };
    mirrors_.push_back({mirror(memory.master), mirror(memory.first_moment), mirror(memory.second_moment)});
    memory_.push_back(std::move(memory));
  }
}

ParameterSet::Place ParameterSet::find(std::string_view name) const {
  for (std::size_t b = 0; b < layout_.buckets().size(); ++b) {
    const std::vector<BucketEntry>& entries = layout_.buckets()[b].entries;
    for (std::size_t e = 0; e < entries.size(); ++e) {
      const ParameterSpec& spec = specs()[entries[e].parameter];
      if (spec.name != name) continue;
      Place place{b, &entries[e], &spec, entries[e].elements, local_shape(spec)};
      for (++e; e < entries.size() && specs()[entries[e].parameter].follows; ++e) {
        place.elements += entries[e].elements;
        const std::int64_t rows = place.shape[0] + local_shape(specs()[entries[e].parameter])[0];
        place.shape = place.shape.dimensions() == 2 ? Shape{rows, place.shape[1]} : Shape{rows};
      }
      return place;
    }
  }
  throw LogicError(fmt::format("parameter {} is not on this rank", name));
}

TensorView ParameterSet::weight(std::string_view name) const {
  const Place place = find(name);
  return memory_[place.bucket].weights.range(place.entry->begin, place.elements).reshaped(place.shape);
}

TensorView ParameterSet::gradient(std::string_view name, std::size_t use) const {
  const Place place = find(name);
  const std::vector<int>& uses = place.spec->stages;
  const std::vector<int>& here = layout_.place().stages;
  const auto is_here = [&](int stage) { return std::find(here.begin(), here.end(), stage) != here.end(); };
  ensure(use < uses.size() && is_here(uses[use]), "no such use of the parameter on this rank");
  // A rank that has only the later stage of a tied parameter keeps only the gradient of that use.
  const auto earlier = std::count_if(uses.begin(), uses.begin() + static_cast<std::ptrdiff_t>(use), is_here);
  return memory_[place.bucket]
      .gradients.at(static_cast<std::size_t>(earlier))
      .range(place.entry->begin, place.elements)
      .reshaped(place.shape);
}

float* ParameterSet::master(const OwnedBox& owned) const {
  return floats(mirrors_[owned.bucket].master) + owned.box.local_begin;
}

float* ParameterSet::first_moment(const OwnedBox& owned) const {
  return floats(mirrors_[owned.bucket].first_moment) + owned.box.local_begin;
}

float* ParameterSet::second_moment(const OwnedBox& owned) const {
  return floats(mirrors_[owned.bucket].second_moment) + owned.box.local_begin;
}

void ParameterSet::initialize(std::uint64_t seed, int threads) {
  for (const OwnedBox& owned : layout_.owned()) {
    fill_initial(specs()[owned.parameter], seed, owned.box, master(owned), threads);
    fill_with(0.0F, first_moment(owned), owned.box.elements(), threads);
    fill_with(0.0F, second_moment(owned), owned.box.elements(), threads);
  }
}

void ParameterSet::publish_state(Queue& queue) const {
  for (const StateMirrors& mirrors : mirrors_) mirrors.each([&](const HostMirror& mirror) { mirror.publish(queue); });
  queue.drain("the copy of master weights and moments to the device");
}

void ParameterSet::prepare_staging() {
  for (StateMirrors& mirrors : mirrors_) mirrors.each([](HostMirror& mirror) { mirror.prepare_staging(); });
}

void ParameterSet::stage_state(Queue& queue) {
  for (StateMirrors& mirrors : mirrors_) mirrors.each([&](HostMirror& mirror) { mirror.stage(queue); });
}

void ParameterSet::hold_for_staging(Queue& queue) const {
  for (const StateMirrors& mirrors : mirrors_)
    mirrors.each([&](const HostMirror& mirror) { mirror.hold_for_staging(queue); });
}

bool ParameterSet::is_staged() const {
  bool all = true;
  for (const StateMirrors& mirrors : mirrors_)
    mirrors.each([&](const HostMirror& mirror) { all = all && mirror.is_staged(); });
  return all;
}

const float* ParameterSet::staged_master(const OwnedBox& owned) const {
  return staged_floats(mirrors_[owned.bucket].master) + owned.box.local_begin;
}

const float* ParameterSet::staged_first_moment(const OwnedBox& owned) const {
  return staged_floats(mirrors_[owned.bucket].first_moment) + owned.box.local_begin;
}

const float* ParameterSet::staged_second_moment(const OwnedBox& owned) const {
  return staged_floats(mirrors_[owned.bucket].second_moment) + owned.box.local_begin;
}

}  // namespace penstock
