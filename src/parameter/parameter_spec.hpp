// SPDX-License-Identifier: Apache-2.0
#pragma once
// ParameterSpec: everything about one parameter. It serves initial weights, the model, sums of gradients,
// the norm, the optimizer, checkpoints and resharding.

#include <cstdint>
#include <string>
#include <vector>

#include "mesh/mesh_place.hpp"
#include "parameter/box.hpp"
#include "tensor/dtype.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// A run of a dimension's elements that is cut by itself (the rows of q, of k, of v), in `parts` equal parts; 0: as
/// many as the axis has ranks. Fewer parts than ranks: neighbours on the axis hold copies, rank r of n has part r *
/// parts / n. (Their gradients are summed along Axis::copies, so that such an axis is the tensor axis.)
struct Section {
  std::int64_t extent = 0;
  int parts = 0;
  bool operator==(const Section&) const = default;
};

/// How a parameter is cut along an axis: one dimension for `parts` ranks. With `sections`, which then cover the
/// dimension, a rank holds its part of every section. parts = 1: every rank of the axis holds a copy. Padding,
/// sections, and parts that do not divide the extent are for the first dimension only (LogicError).
struct Split {
  int dimension = 0;
  int parts = 1;
  std::vector<Section> sections = {};  ///< empty: the dimension is one
  std::int64_t padded_extent = 0;      ///< of the dimension in memory, over all parts; 0: the global extent, no padding
  std::string axis{Axis::tensor};
};

/// Arrays of one shape (experts) that stand one after the other in the first dimension of a parameter. An axis shares
/// them out whole, equal runs for `parts` ranks; the parameter's Split then says how each of them is cut.
struct Stack {
  int arrays = 1;
  int parts = 1;     ///< a divisor of `arrays`; 1: every rank holds all of them
  std::string axis;  ///< that shares them out
};

enum class Init { zeros, ones, normal };

/// Axes along which ranks hold the same part of a parameter and see other tokens than each other: their gradients are
/// parts of one sum.
struct GradientSums {
  /// Inside a replica of the model, summed first; every rank has the sum. The tensor axis, where each of its ranks
  /// applies a copy of the parameter to rows of its own.
  AxisSet inside = {};
  /// Across replicas, summed then. With ZeRO-1 the ranks of this group share out master weights and moments, each has
  /// the sum of its own range only, and updated weights are gathered along the same axes.
  AxisSet across = {Axis::data};
  bool operator==(const GradientSums&) const = default;
};

/// The block number of parameters that belong to no block.
inline constexpr int outside_blocks = -1;

struct ParameterSpec {
  std::string name;  ///< global, as in the checkpoint
  Shape shape;       ///< global; one or two dimensions
  Stack stack = {};
  Split split = {};  ///< of each array of the stack
  Init init = Init::zeros;
  double deviation = 0;  ///< of Init::normal
  bool decay = false;
  DType type = DType::float32;           ///< in which the model computes with it
  DType gradient_type = DType::float32;  ///< bfloat16: where one product writes it and nothing is added to it
  GradientSums sums = {};
  std::vector<int> stages;  ///< that use it, one entry a use, ascending (may repeat); more than one: tied
  int block = outside_blocks;
  /// It follows the parameter before it in memory, without padding: both are rows of one matrix (or bias), which
  /// ParameterSet returns under the first one's name.
  bool follows = false;
};

/// The shape of the part that one rank holds, padding included: the same on all.
Shape local_shape(const ParameterSpec& spec);

/// A section as one rank holds it: a box of the global array, local_begin counts in the local tensor.
struct LocalBox {
  Box box;
  int copies = 1;     ///< ranks that hold this box: neighbours on the axis of its Split
  bool first = true;  ///< of those ranks
};
/// The boxes of the global array that a rank holds: one a section of each array of the stack; none where all is
/// padding.
std::vector<LocalBox> sections_held(const ParameterSpec& spec, const MeshPlace& place);
/// The boxes alone.
std::vector<Box> local_boxes(const ParameterSpec& spec, const MeshPlace& place);

/// Fills elements of `box` with the initial weights, a pure function of (seed, name, global element index).
/// `values` points to the box's first element, dense. `threads` >= 1 share the work; the bits do not depend on them.
void fill_initial(const ParameterSpec& spec, std::uint64_t seed, const Box& box, float* values, int threads = 1);

/// Writes one value to all `elements`, with `threads` >= 1.
void fill_with(float value, float* values, std::int64_t elements, int threads = 1);

}  // namespace penstock
