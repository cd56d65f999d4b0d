// SPDX-License-Identifier: Apache-2.0
#pragma once
// ParameterSpec: everything about one parameter. It serves initial weights, the model, sums of gradients,
// the norm, the optimizer, checkpoints and resharding.

#include <cstdint>
#include <string>
#include <vector>

#include "parameter/box.hpp"
#include "tensor/dtype.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// A run of a dimension's elements that is cut by itself (the rows of q, of k, of v), in `parts` equal parts; 0: as
/// many as the axis has ranks. Fewer parts than ranks: neighbours on the axis hold copies, rank r of n has part r *
/// parts / n.
struct Section {
  std::int64_t extent = 0;
  int parts = 0;
  bool operator==(const Section&) const = default;
};

/// How a parameter is cut along the tensor axis: one dimension for `parts` ranks. With `sections`, which then cover the
/// dimension, a rank holds its part of every section. parts = 1: every tensor rank holds a copy. Padding, sections, and
/// parts that do not divide the extent are for the first dimension only (LogicError).
struct Split {
  int dimension = 0;
  int parts = 1;
  std::vector<Section> sections = {};  ///< empty: the dimension is one
  std::int64_t padded_extent = 0;      ///< of the dimension in memory, over all parts; 0: the global extent, no padding
};

enum class Init { zeros, ones, normal };

/// A rank's gradient of a parameter before sums: the whole contribution of its data rank, or (for copies on the tensor
/// axis with sequence parallelism) the part from this rank's own tokens.
enum class GradientOnTensorAxis { whole, partial };

/// The block number of parameters that belong to no block.
inline constexpr int outside_blocks = -1;

struct ParameterSpec {
  std::string name;  ///< global, as in the checkpoint
  Shape shape;       ///< global; one or two dimensions
  Split split = {};
  Init init = Init::zeros;
  double deviation = 0;  ///< of Init::normal
  bool decay = false;
  DType type = DType::float32;           ///< the type with which the model computes
  DType gradient_type = DType::float32;  ///< bfloat16 if one product writes it and nothing is added to it
  GradientOnTensorAxis gradient = GradientOnTensorAxis::whole;
  std::vector<int> stages;  ///< that use it, one entry for each use, ascending (may repeat); more than one: tied
  int block = outside_blocks;
  /// It follows the parameter before it in memory, without padding: both are rows of one matrix (or bias), which
  /// ParameterSet returns under the first one's name.
  bool follows = false;
};

/// The shape of the part that one tensor rank holds, padding included.
Shape local_shape(const ParameterSpec& spec);

/// A section on one tensor rank: a box of the global array; local_begin counts in the local tensor.
struct LocalBox {
  Box box;
  int copies = 1;     ///< ranks that hold this box: neighbours on the tensor axis
  bool first = true;  ///< of those ranks
};
/// The boxes of the global array that tensor coordinate `coordinate` holds (one for each section; none if all is
/// padding).
std::vector<LocalBox> sections_held(const ParameterSpec& spec, int coordinate);
/// The boxes alone.
std::vector<Box> local_boxes(const ParameterSpec& spec, int coordinate);

/// Fills elements of `box` with the initial weights, a pure function of (seed, name, global element index).
/// `values` points to the box's first element, dense. `threads` >= 1 share the work; the bits do not depend on them.
void fill_initial(const ParameterSpec& spec, std::uint64_t seed, const Box& box, float* values, int threads = 1);

/// Writes one value to all `elements`, with `threads` >= 1.
void fill_with(float value, float* values, std::int64_t elements, int threads = 1);

}  // namespace penstock
