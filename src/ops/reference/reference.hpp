// SPDX-License-Identifier: Apache-2.0
#pragma once
// The operations as plain loops with sums in double; backends are compared with them. Same argument structs and same
// options as in ops/*.hpp, but no queue. Besides float32 and bfloat16, every tensor may be float64, which makes
// gradients checkable by finite differences to many digits.

#include <span>

#include "ops/adamw.hpp"
#include "ops/attention.hpp"
#include "ops/elementwise.hpp"
#include "ops/embedding.hpp"
#include "ops/gelu.hpp"
#include "ops/layer_norm.hpp"
#include "ops/linear.hpp"
#include "ops/rms_norm.hpp"
#include "ops/rotate.hpp"
#include "ops/softmax_loss.hpp"
#include "ops/squared_norm.hpp"
#include "ops/step_scalars.hpp"
#include "ops/swiglu.hpp"

namespace penstock::reference {

void linear(const ops::Linear& arguments);
void linear_input_gradient(const ops::LinearInputGradient& arguments);
void linear_weight_gradient(const ops::LinearWeightGradient& arguments);

void layer_norm(const ops::LayerNorm& arguments);
void residual(const ops::Residual& arguments);
void residual_layer_norm(const ops::ResidualLayerNorm& arguments);
void layer_norm_gradient(const ops::LayerNormGradient& arguments);
void dropout_gradient(const ops::DropoutGradient& arguments);

void rms_norm(const ops::RmsNorm& arguments);
void residual_rms_norm(const ops::ResidualRmsNorm& arguments);
void rms_norm_gradient(const ops::RmsNormGradient& arguments);

void rotate(const ops::Rotate& arguments);
void rotate_gradient(const ops::RotateGradient& arguments);

void attention(const ops::Attention& arguments);
void attention_gradient(const ops::AttentionGradient& arguments);

void embedding(const ops::Embedding& arguments);
void embedding_gradient(const ops::EmbeddingGradient& arguments);
void position_embedding(const ops::PositionEmbedding& arguments);
void position_embedding_gradient(const ops::PositionEmbeddingGradient& arguments);

void softmax_statistics(const ops::SoftmaxStatistics& arguments);
void softmax_loss(const ops::SoftmaxLoss& arguments);
void whole_softmax_loss(const ops::WholeSoftmaxLoss& arguments);

void adamw(const ops::AdamWConstants& constants, const ops::AdamWStep* step, std::span<const ops::AdamWPiece> pieces);

void gelu(const ops::Gelu& arguments);

void swiglu(const ops::Swiglu& arguments);
void swiglu_gradient(const ops::SwigluGradient& arguments);

void cast(TensorView from, TensorView to);
void zero(TensorView tensor);

void add_squared_norms(std::span<const ops::NormPiece> pieces);

void finish_step(const ops::FinishStep& arguments, ops::StepScalars* scalars);

}  // namespace penstock::reference
