// SPDX-License-Identifier: Apache-2.0
#pragma once
// ParameterSpec: all that is to be known about one parameter. It serves initial weights, the model, sums of gradients,
// the norm, the optimizer, checkpoints and resharding.

#include <cstdint>
#include <string>
#include <vector>

#include "parameter/box.hpp"
#include "tensor/dtype.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// How a parameter is cut along the tensor axis: one dimension in `parts` equal parts. With `sections` > 1 the
/// dimension is that many equal blocks (q, k, v), each cut by itself: a rank holds its part of every block. parts = 1:
/// every tensor rank holds a copy. Padding, and parts that do not divide the extent, are for the first dimension only
/// (LogicError).
struct Split {
  int dimension = 0;
  int parts = 1;
  int sections = 1;
  std::int64_t padded_extent = 0;  ///< of the dimension in memory, over all parts; 0: the global extent, no padding
};

enum class Init { zeros, ones, normal };

/// What a rank's gradient of a parameter is before sums: the whole of what its data rank contributes, or (copies on the
/// tensor axis under sequence parallelism) the part that comes from this rank's own tokens.
enum class GradientOnTensorAxis { whole, partial };

/// The block of a parameter that belongs to none.
inline constexpr int outside_blocks = -1;

struct ParameterSpec {
  std::string name;  ///< global, as in the checkpoint
  Shape shape;       ///< global; one or two dimensions
  Split split = {};
  Init init = Init::zeros;
  double deviation = 0;  ///< of Init::normal
  bool decay = false;
  DType type = DType::float32;           ///< in which the model computes with it
  DType gradient_type = DType::float32;  ///< bfloat16: where one product writes it and nothing is added to it
  GradientOnTensorAxis gradient = GradientOnTensorAxis::whole;
  std::vector<int> stages;  ///< that use it, one entry a use, ascending (may repeat); more than one: tied
  int block = outside_blocks;
};

/// The shape of the part that one tensor rank holds, padding included.
Shape local_shape(const ParameterSpec& spec);

/// The boxes of the global array that tensor coordinate `coordinate` holds (one a section; none where all is padding);
/// local_begin counts in the local tensor.
std::vector<Box> local_boxes(const ParameterSpec& spec, int coordinate);

/// Fills elements of `box` with the initial weights: pure in (seed, name, global element index).
/// `values` points to the box's first element, dense. `threads` >= 1 share the work; the bits do not depend on them.
void fill_initial(const ParameterSpec& spec, std::uint64_t seed, const Box& box, float* values, int threads = 1);

/// The same value in all `elements`, by `threads` >= 1.
void fill_with(float value, float* values, std::int64_t elements, int threads = 1);

}  // namespace penstock
