// SPDX-License-Identifier: Apache-2.0
#include "model/model_config.hpp"

#include "model/families/families.hpp"

namespace penstock {

void ModelConfig::describe(FieldTable& table) {
  table.add("model.family", family, "the architecture").one_of(family_names());
  table.add("model.layers", layers, "transformer blocks").required().at_least(1);
  table.add("model.width", width, "channels of the residual stream").required().at_least(1);
  table.add("model.heads", heads, "attention heads of a block").required().at_least(1);
  table.add("model.vocabulary", vocabulary, "different tokens; 256 is byte level").at_least(2).at_most(1 << 30);
  table.add("model.positions", positions, "learned positions: the longest sequence")
      .unit("tokens")
      .required()
      .at_least(1);
  table.add("model.dropout_embedding", dropout_embedding, "share of the embedding's outputs set to zero")
      .at_least(0)
      .below(1);
  table.add("model.dropout_residual", dropout_residual, "share of each branch's outputs set to zero")
      .at_least(0)
      .below(1);
  table.add("model.dropout_attention", dropout_attention, "share of attention probabilities set to zero")
      .at_least(0)
      .below(1);
}

}  // namespace penstock
