// SPDX-License-Identifier: Apache-2.0
#include "model/linear_shapes.hpp"

#include <algorithm>

#include "model/branch.hpp"
#include "model/head.hpp"

namespace penstock {

std::vector<ops::LinearShape> linear_shapes(const ModelShape& shape, const RankDuties& duties) {
  std::vector<ops::LinearShape> shapes;
  const auto add = [&](const ops::LinearShape& linear) {
    if (std::find(shapes.begin(), shapes.end(), linear) == shapes.end()) shapes.push_back(linear);
  };
  for (std::size_t b = 0; b < shape.branches().size(); ++b) {
    shapes.push_back(in_product(shape, b));
    if (duties.fused) add(out_product(shape, b, BackwardHalves::fused));
    if (duties.input_only) add(out_product(shape, b, BackwardHalves::input_only));
  }
  if (duties.head) shapes.push_back(Head::logits_product(shape));
  const std::size_t layers = shapes.size();
  for (std::size_t i = 0; i < layers; ++i) {
    if (duties.accumulates) shapes.push_back(shapes[i]);
    shapes[i].accumulate = false;
    shapes[i].dweight = shape.cut.gradient;
  }
  return shapes;
}

}  // namespace penstock
