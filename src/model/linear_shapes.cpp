#include "model/linear_shapes.hpp"

#include "model/attention_layer.hpp"
#include "model/head.hpp"
#include "model/mlp_layer.hpp"

namespace penstock {

std::vector<ops::LinearShape> linear_shapes(const ModelShape& shape, bool head) {
  std::vector<ops::LinearShape> shapes{AttentionLayer::qkv_product(shape), AttentionLayer::output_product(shape),
                                       MlpLayer::up_product(shape), MlpLayer::down_product(shape)};
  if (head) shapes.push_back(Head::logits_product(shape));
  return shapes;
}

}  // namespace penstock
