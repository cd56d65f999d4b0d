// SPDX-License-Identifier: Apache-2.0
#include "model/stream_norm.hpp"

#include "ops/rms_norm.hpp"

namespace penstock {

namespace {

bool is_rms(const ModelContext& context) { return context.shape().model->norm == NormKind::rms; }

ops::LayerNorm layer_norm_of(const StreamNorm::Places& at, const Parameter& weight, const Parameter& bias) {
  return {.x = at.x, .weight = weight.value, .bias = bias.value, .y = at.y, .mean = at.mean, .rstd = at.rstd};
}

ops::RmsNorm rms_norm_of(const StreamNorm::Places& at, const Parameter& weight, double epsilon) {
  return {.x = at.x, .weight = weight.value, .y = at.y, .rstd = at.rstd, .epsilon = static_cast<float>(epsilon)};
}

}  // namespace

StreamNorm::StreamNorm(const ModelContext& context, const std::string& name)
    : context_(&context), weight_(context.parameter(name + ".weight")) {
  if (!is_rms(context)) bias_ = context.parameter(name + ".bias");
}

void StreamNorm::apply(const Places& at) const {
  if (is_rms(*context_))
    ops::rms_norm(context_->queue(), rms_norm_of(at, weight_, context_->shape().model->norm_epsilon));
  else
    ops::layer_norm(context_->queue(), layer_norm_of(at, weight_, bias_));
}

void StreamNorm::apply_after(const ops::Residual& sum, const Places& at) const {
  if (is_rms(*context_))
    ops::residual_rms_norm(context_->queue(),
                           {.residual = sum, .norm = rms_norm_of(at, weight_, context_->shape().model->norm_epsilon)});
  else
    ops::residual_layer_norm(context_->queue(), {.residual = sum, .norm = layer_norm_of(at, weight_, bias_)});
}

void StreamNorm::gradient(const Places& at, TensorView dy, TensorView residual_gradient, TensorView dx,
                          bool accumulate) const {
  if (is_rms(*context_))
    ops::rms_norm_gradient(context_->queue(), {.dy = dy,
                                               .x = at.x,
                                               .weight = weight_.value,
                                               .rstd = at.rstd,
                                               .residual_gradient = residual_gradient,
                                               .dx = dx,
                                               .dweight = weight_.gradient,
                                               .accumulate = accumulate});
  else
    ops::layer_norm_gradient(context_->queue(), {.dy = dy,
                                                 .x = at.x,
                                                 .weight = weight_.value,
                                                 .mean = at.mean,
                                                 .rstd = at.rstd,
                                                 .residual_gradient = residual_gradient,
                                                 .dx = dx,
                                                 .dweight = weight_.gradient,
                                                 .dbias = bias_.gradient,
                                                 .accumulate = accumulate});
}

}  // namespace penstock
