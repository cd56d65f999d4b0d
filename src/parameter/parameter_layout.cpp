// SPDX-License-Identifier: Apache-2.0
#include "parameter/parameter_layout.hpp"

#include <algorithm>

namespace penstock {

namespace {

constexpr std::int64_t line = 32;  // float32 elements in 128 bytes

std::int64_t padded(std::int64_t elements, std::int64_t unit) { return (elements + unit - 1) / unit * unit; }

bool contains(const std::vector<int>& stages, int stage) {
  return std::find(stages.begin(), stages.end(), stage) != stages.end();
}

int uses_here(const ParameterSpec& spec, const ParameterPlace& place) {
  return static_cast<int>(
      std::count_if(spec.stages.begin(), spec.stages.end(), [&](int stage) { return contains(place.stages, stage); }));
}

int copies_of(const ParameterSpec& spec) {
  int copies = 1;
  for (const Section& section : spec.split.sections)
    if (section.parts > 0) copies = std::max(copies, spec.split.parts / section.parts);
  return copies;
}

// Ranks that hold the same elements sum the gradients. For copied sections, only the tensor axis states which
// neighbours hold the same copy.
void ensure_summable(const ParameterSpec& spec) {
  const auto sums_along = [&](std::string_view axis) {
    return spec.sums.inside.contains(axis) || spec.sums.across.contains(axis);
  };
  ensure(spec.split.parts == 1 || !sums_along(spec.split.axis), "gradients are summed along an axis that cuts them");
  ensure(spec.stack.parts == 1 || !sums_along(spec.stack.axis), "gradients are summed along an axis of their stack");
  ensure(copies_of(spec) == 1 || spec.split.axis == Axis::tensor, "sections are copied on another axis than tensor");
}

// Tied parameters have a bucket of their own, so that the ranks at both ends cut the same bucket in the same ranges. So
// do parameters outside the blocks: they are read first and their gradients are complete last, so they would delay the
// others.
bool belongs(const Bucket& bucket, const std::vector<ParameterSpec>& specs, const ParameterSpec& spec) {
  const ParameterSpec& other = specs[bucket.entries.front().parameter];
  const bool tied = spec.stages.size() > 1;
  return bucket.type == spec.type && bucket.gradient_type == spec.gradient_type && bucket.sums == spec.sums &&
         bucket.copies == copies_of(spec) && (other.block == outside_blocks) == (spec.block == outside_blocks) &&
         bucket.tied == tied && (!tied || other.stages == spec.stages);
}

// Whether this rank is the first, or only, one of an axis with this copy. For the pipeline axis the stages decide: the
// first stage that uses the parameter is on this rank, or not.
bool is_first_on(const Axis& axis, const ParameterSpec& spec, const LocalBox& held, const ParameterPlace& place) {
  if (axis.name == Axis::pipeline) return true;
  if (spec.split.parts > 1 && axis.name == spec.split.axis) return held.first;
  if (spec.stack.parts > 1 && axis.name == spec.stack.axis) return true;
  return place.mesh.at(axis.name) == 0 || (place.shard && spec.sums.across.contains(axis.name));
}

// One of several equal copies is counted.
bool is_counted(const ParameterSpec& spec, const LocalBox& held, const ParameterPlace& place) {
  const std::vector<Axis>& axes = place.mesh.mesh().axes();
  return contains(place.stages, spec.stages.front()) &&
         std::all_of(axes.begin(), axes.end(), [&](const Axis& axis) { return is_first_on(axis, spec, held, place); });
}

}  // namespace

ParameterLayout::ParameterLayout(const std::vector<ParameterSpec>& specs, ParameterPlace place,
                                 std::int64_t elements_of_a_full_bucket)
    : place_(std::move(place)) {
  for (std::size_t p = 0; p < specs.size(); ++p) {
    const ParameterSpec& spec = specs[p];
    const int uses = uses_here(spec, place_);
    if (uses == 0) continue;
    ensure_summable(spec);
    auto bucket = std::find_if(buckets_.begin(), buckets_.end(), [&](const Bucket& b) {
      return spec.follows ? b.entries.back().parameter + 1 == p
                          : b.elements < elements_of_a_full_bucket && belongs(b, specs, spec);
    });
    ensure(!spec.follows || (bucket != buckets_.end() && belongs(*bucket, specs, spec)),
           "a parameter that follows another is not like it");
    if (bucket == buckets_.end()) {
      buckets_.push_back({.type = spec.type,
                          .gradient_type = spec.gradient_type,
                          .sums = spec.sums,
                          .copies = copies_of(spec),
                          .tied = spec.stages.size() > 1,
                          .uses = uses});
      bucket = buckets_.end() - 1;
    }
    const std::int64_t elements = local_shape(spec).elements();
    const std::int64_t begin =
        spec.follows ? bucket->entries.back().begin + bucket->entries.back().elements : bucket->elements;
    bucket->entries.push_back({p, begin, elements});
    bucket->elements = padded(begin + elements, line);
    for (const Box& box : local_boxes(spec, place_.mesh)) parameters_held_ += box.elements();
  }
  for (Bucket& bucket : buckets_) {
    const int replicas = place_.mesh.group_size(bucket.sums.across);
    bucket.elements = padded(bucket.elements, line * replicas);
    const std::int64_t share = place_.shard ? bucket.elements / replicas : bucket.elements;
    bucket.own_begin = place_.shard ? share * place_.mesh.index_in_group(bucket.sums.across) : 0;
    bucket.own_end = bucket.own_begin + share;
  }
  for (std::size_t b = 0; b < buckets_.size(); ++b)
    for (const BucketEntry& entry : buckets_[b].entries) {
      const ParameterSpec& spec = specs[entry.parameter];
      for (const LocalBox& held : sections_held(spec, place_.mesh)) {
        const std::int64_t first = entry.begin + held.box.local_begin;  // of this box in the bucket
        const std::int64_t begin = std::max(buckets_[b].own_begin - first, std::int64_t{0});
        for (Box box : boxes_of_range(held.box, begin, buckets_[b].own_end - first)) {
          box.local_begin += first + begin - buckets_[b].own_begin;
          owned_.push_back({entry.parameter, b, box, is_counted(spec, held, place_)});
        }
      }
    }
  std::stable_sort(owned_.begin(), owned_.end(),
                   [](const OwnedBox& a, const OwnedBox& b) { return a.parameter < b.parameter; });
}

std::vector<BucketRange> ParameterLayout::copied_ranges(const std::vector<ParameterSpec>& specs,
                                                        const Bucket& bucket) const {
  std::vector<BucketRange> ranges;
  for (const BucketEntry& entry : bucket.entries)
    for (const LocalBox& held : sections_held(specs[entry.parameter], place_.mesh)) {
      if (held.copies == 1) continue;
      const std::int64_t begin = entry.begin + held.box.local_begin, elements = held.box.elements();
      if (!ranges.empty() && ranges.back().begin + ranges.back().elements == begin)
        ranges.back().elements += elements;
      else
        ranges.push_back({begin, elements});
    }
  return ranges;
}

bool ParameterLayout::holds(std::size_t parameter) const {
  for (const Bucket& bucket : buckets_)
    for (const BucketEntry& entry : bucket.entries)
      if (entry.parameter == parameter) return true;
  return false;
}

}  // namespace penstock
