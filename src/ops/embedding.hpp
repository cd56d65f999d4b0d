// SPDX-License-Identifier: Apache-2.0
#pragma once
// Token and position embedding. N tokens of a microbatch, R rows of them, C channels; the token table is cut by
// vocabulary: this rank holds rows first_token .. first_token + V_local - 1 of it.

#include "device/queue.hpp"
#include "ops/dropout.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// out[n] = weight[tokens[n] - first_token], zero where another rank holds the token.
struct Embedding {
  TensorView tokens;  ///< [N] int32
  TensorView weight;  ///< [V_local, C] float32 or bfloat16
  std::int64_t first_token = 0;
  TensorView out;  ///< [N, C], type of weight
};
void embedding(Queue& queue, const Embedding& arguments);

/// dweight[tokens[n] - first_token] += dout[n], in the order of n; tokens of other ranks are skipped. Without
/// `accumulate` the table starts from zero.
struct EmbeddingGradient {
  TensorView tokens;  ///< [N] int32
  TensorView dout;    ///< [N, C] float32 or bfloat16
  std::int64_t first_token = 0;
  TensorView dweight;  ///< [V_local, C] float32
  bool accumulate = true;
};
void embedding_gradient(Queue& queue, const EmbeddingGradient& arguments);

/// out[r] = dropout(token[r] + weight[position of r]).
struct PositionEmbedding {
  TensorView token;   ///< [R, C] float32 or bfloat16
  TensorView weight;  ///< [positions, C] float32
  TensorView out;     ///< [R, C], type of token; may be token
  Dropout dropout;
  TokenRows rows;
};
void position_embedding(Queue& queue, const PositionEmbedding& arguments);

/// dtoken = dropout mask * scale * dout; dweight[position of r] += dtoken[r], in the order of r. Without `accumulate`
/// the table starts from zero.
struct PositionEmbeddingGradient {
  TensorView dout;     ///< [R, C] float32 or bfloat16
  TensorView dtoken;   ///< [R, C], type of dout; may be dout
  TensorView dweight;  ///< [positions, C] float32
  Dropout dropout;
  TokenRows rows;
  bool accumulate = true;
};
void position_embedding_gradient(Queue& queue, const PositionEmbeddingGradient& arguments);

}  // namespace penstock::ops
