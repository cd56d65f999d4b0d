// SPDX-License-Identifier: Apache-2.0
#pragma once
// ParameterLayout: which elements of which parameters a rank keeps, and where. A value without memory that every rank
// can compute for every rank. It serves the memory plan, checkpoints on any mesh, and ParameterSet, which adds the
// memory.

#include <cstdint>
#include <string>
#include <vector>

#include "parameter/parameter_spec.hpp"

namespace penstock {

/// A rank's coordinates, as far as parameters depend on them.
struct ParameterPlace {
  std::vector<int> stages;  ///< stages of the model on this rank: what the pipeline axis means to parameters
  MeshPlace mesh = {};
  bool shard = true;  ///< ZeRO-1: master weights and moments are cut over the replicas (GradientSums)
};

/// A run of a bucket's elements.
struct BucketRange {
  std::int64_t begin = 0;
  std::int64_t elements = 0;
};

/// One parameter inside a bucket.
struct BucketEntry {
  std::size_t parameter = 0;  ///< index into the specs
  std::int64_t begin = 0;     ///< first element in the bucket
  std::int64_t elements = 0;  ///< of the local tensor, padding included
};

/// Parameters that are stored, summed and updated together, neighbours of one kind in the model's order: one flat
/// array, padded so that each replica owns an equal range of whole 128-byte lines.
struct Bucket {
  DType type = DType::float32;
  DType gradient_type = DType::float32;
  GradientSums sums = {};
  int copies = 1;  ///< ranks that hold each of the copied sections (Section::parts), whose gradients they sum
  bool tied = false;
  std::vector<BucketEntry> entries = {};
  std::int64_t elements = 0;                ///< padded
  std::int64_t own_begin = 0, own_end = 0;  ///< elements whose master weights and moments this rank keeps
  int uses = 1;                             ///< gradient buffers: one for each use of a tied parameter here

  /// The type of one of the gradient buffers. The first use of a tied parameter is a table, which adds row by row, and
  /// a gradient whose other part is on another rank is added to: both are float32.
  DType type_of_gradient(int use) const { return tied && (use == 0 || uses == 1) ? DType::float32 : gradient_type; }
};

/// A part of a parameter's global array that a rank owns: master weights and both moments.
struct OwnedBox {
  std::size_t parameter = 0;
  std::size_t bucket = 0;
  Box box;              ///< local_begin counts from own_begin of the bucket
  bool counted = true;  ///< of several equal copies, the one that is written and counted in norms
};

class ParameterLayout {
 public:
  ParameterLayout() = default;
  /// A bucket of this size takes no more parameters: large enough for a link's full rate, small enough that the sums of
  /// most gradients overlap the backward pass of other blocks.
  static constexpr std::int64_t full_bucket = 12'000'000;

  /// `specs` are the parameters of the whole model, in global order. Throws LogicError for one that cannot be held, or
  /// whose gradients would be summed along an axis that cuts it.
  ParameterLayout(const std::vector<ParameterSpec>& specs, ParameterPlace place,
                  std::int64_t elements_of_a_full_bucket = full_bucket);

  const ParameterPlace& place() const { return place_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  /// All owned boxes, in order of parameters.
  const std::vector<OwnedBox>& owned() const { return owned_; }
  /// The ranges of the copied sections of a bucket's parameters, with neighbours joined.
  std::vector<BucketRange> copied_ranges(const std::vector<ParameterSpec>& specs, const Bucket& bucket) const;
  /// Whether a stage here uses the parameter.
  bool holds(std::size_t parameter) const;
  /// Elements of parameters that this rank holds for computing, padding left out.
  std::int64_t parameters_held() const { return parameters_held_; }

 private:
  ParameterPlace place_;
  std::vector<Bucket> buckets_;
  std::vector<OwnedBox> owned_;
  std::int64_t parameters_held_ = 0;
};

}  // namespace penstock
