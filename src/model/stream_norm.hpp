// SPDX-License-Identifier: Apache-2.0
#pragma once
// The norm of rows of the residual stream: LayerNorm or RMSNorm, by the model's description. R rows here, C
// channels.

#include <string>

#include "model/model_context.hpp"
#include "ops/layer_norm.hpp"

namespace penstock {

class StreamNorm {
 public:
  /// The tensors of one application.
  struct Places {
    TensorView x;     ///< [R, C]
    TensorView y;     ///< [R, C] normalized
    TensorView mean;  ///< [R] float32; LayerNorm only
    TensorView rstd;  ///< [R] float32
  };

  /// `name`: of the parameters, "blocks.3.mlp_norm".
  StreamNorm(const ModelContext& context, const std::string& name);

  void apply(const Places& at) const;
  /// The sum, then the norm of its output (at.x is not read), with the bits of the two one after the other.
  void apply_after(const ops::Residual& sum, const Places& at) const;
  /// dx = residual_gradient (may be absent, or dx) + the norm's gradient from dy; and the parameters' gradients.
  void gradient(const Places& at, TensorView dy, TensorView residual_gradient, TensorView dx, bool accumulate) const;

 private:
  const ModelContext* context_;
  Parameter weight_, bias_;
};

}  // namespace penstock
