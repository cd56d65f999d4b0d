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

// Tied parameters have a bucket of their own, so that the ranks at both ends cut it into the same ranges. So do
// parameters outside the blocks: they are read first and their gradients come last, so they would delay the others.
bool belongs(const Bucket& bucket, const std::vector<ParameterSpec>& specs, const ParameterSpec& spec) {
  const ParameterSpec& other = specs[bucket.entries.front().parameter];
  const bool tied = spec.stages.size() > 1;
  return bucket.type == spec.type && bucket.gradient_type == spec.gradient_type && bucket.gradient == spec.gradient &&
         bucket.copies == copies_of(spec) && (other.block == outside_blocks) == (spec.block == outside_blocks) &&
         bucket.tied == tied && (!tied || other.stages == spec.stages);
}

// Of several equal copies one counts: the first on the tensor axis, on the data axis, and of tied stages.
bool is_counted(const ParameterSpec& spec, const LocalBox& held, const ParameterPlace& place) {
  return (spec.split.parts > 1 ? held.first : place.tensor_coordinate == 0) &&
         (place.shard || place.data_coordinate == 0) && contains(place.stages, spec.stages.front());
}

}  // namespace

ParameterLayout::ParameterLayout(const std::vector<ParameterSpec>& specs, ParameterPlace place,
                                 std::int64_t elements_of_a_full_bucket)
    : place_(std::move(place)) {
  for (std::size_t p = 0; p < specs.size(); ++p) {
    const ParameterSpec& spec = specs[p];
    const int uses = uses_here(spec, place_);
    if (uses == 0) continue;
    auto bucket = std::find_if(buckets_.begin(), buckets_.end(), [&](const Bucket& b) {
      return spec.follows ? b.entries.back().parameter + 1 == p
                          : b.elements < elements_of_a_full_bucket && belongs(b, specs, spec);
    });
    ensure(!spec.follows || (bucket != buckets_.end() && belongs(*bucket, specs, spec)),
           "a parameter that follows another is not like it");
    if (bucket == buckets_.end()) {
      buckets_.push_back({.type = spec.type,
                          .gradient_type = spec.gradient_type,
                          .gradient = spec.gradient,
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
    for (const Box& box : local_boxes(spec, place_.tensor_coordinate)) parameters_held_ += box.elements();
  }
  for (Bucket& bucket : buckets_) {
    bucket.elements = padded(bucket.elements, line * place_.data_ranks);
    const std::int64_t share = place_.shard ? bucket.elements / place_.data_ranks : bucket.elements;
    bucket.own_begin = place_.shard ? share * place_.data_coordinate : 0;
    bucket.own_end = bucket.own_begin + share;
  }
  for (std::size_t b = 0; b < buckets_.size(); ++b)
    for (const BucketEntry& entry : buckets_[b].entries) {
      const ParameterSpec& spec = specs[entry.parameter];
      for (const LocalBox& held : sections_held(spec, place_.tensor_coordinate)) {
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
    for (const LocalBox& held : sections_held(specs[entry.parameter], place_.tensor_coordinate)) {
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
