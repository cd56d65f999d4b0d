// SPDX-License-Identifier: Apache-2.0
#include "model/linear_shapes.hpp"

#include "model/attention_layer.hpp"
#include "model/head.hpp"
#include "model/mlp_layer.hpp"

namespace penstock {

std::vector<ops::LinearShape> linear_shapes(const ModelShape& shape, const RankDuties& duties) {
  std::vector<ops::LinearShape> shapes{AttentionLayer::qkv_product(shape), AttentionLayer::output_product(shape),
                                       MlpLayer::up_product(shape)};
  if (duties.fused) shapes.push_back(MlpLayer::down_product(shape, BackwardHalves::fused));
  if (duties.input_only) shapes.push_back(MlpLayer::down_product(shape, BackwardHalves::input_only));
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
