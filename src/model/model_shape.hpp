// SPDX-License-Identifier: Apache-2.0
#pragma once
// The sizes of one rank's slice of the model.

#include <cstdint>

#include "model/description.hpp"
#include "tensor/dtype.hpp"

namespace penstock {

/// How the model is cut along the tensor axis, and its computing types.
struct ModelCut {
  int tensor = 1;
  bool sequence_parallel = true;  ///< between attention and MLP a tensor rank keeps tokens / tensor rows
  DType compute = DType::float32;
  DType gradient = DType::float32;   ///< of the weights of products
  bool repeatable_attention = true;  ///< AttentionShape::repeatable
};

/// What the backward pass of a block computes again instead of keeping it; recompute.hpp says of which parts.
enum class Recompute {
  none,
  elementwise,  ///< results of element-wise operations: normalized rows, and the MLP after its activation
  attention,    ///< the attention core: its output and log-sum-exp
  block,        ///< all but the block's input
  block_local,  ///< all but the block's input and values that would be summed over the tensor axis again
};

struct ModelShape {
  const ModelDescription* model;  ///< outlives the shape
  ModelCut cut;
  Recompute recompute = Recompute::none;
  int tensor_coordinate = 0;
  std::int64_t samples = 1;   ///< B, of a microbatch
  std::int64_t sequence = 1;  ///< T

  bool cut_rows() const { return cut.sequence_parallel && cut.tensor > 1; }
  std::int64_t tokens() const { return samples * sequence; }  ///< N
  std::int64_t rows() const {
    return cut_rows() ? tokens() / cut.tensor : tokens();
  }  ///< R, of the residual stream here
  std::int64_t first_row() const { return cut_rows() ? rows() * tensor_coordinate : 0; }
  std::int64_t width() const { return model->width; }  ///< C
  /// Of any kind of block: all kinds have the same memory.
  const std::vector<BranchDescription>& branches() const { return model->kinds.front().branches; }
  /// Channels on this rank, of the product that a branch begins with, and of the core.
  std::int64_t inner_channels(const BranchDescription& branch) const { return branch.in.outputs(cut.tensor); }
  std::int64_t core_channels(const BranchDescription& branch) const { return branch.core_channels() / cut.tensor; }
  std::int64_t heads(const AttentionCore& attention) const { return attention.heads / cut.tensor; }  ///< local
  std::int64_t kv_heads(const AttentionCore& attention) const {                                      ///< local
    return attention.kv_heads < cut.tensor ? 1 : attention.kv_heads / cut.tensor;
  }
  /// Rows of the token table here, padding included: the table is padded to a multiple of 128, whatever the mesh.
  std::int64_t vocabulary_rows() const { return (padded_vocabulary() + cut.tensor - 1) / cut.tensor; }
  std::int64_t first_token() const { return vocabulary_rows() * tensor_coordinate; }
  /// Real tokens among the local rows.
  std::int64_t vocabulary_columns() const {
    const std::int64_t left = model->vocabulary - first_token();
    return left < 0 ? 0 : left < vocabulary_rows() ? left : vocabulary_rows();
  }
  std::int64_t padded_vocabulary() const { return (model->vocabulary + 127) / 128 * 128; }
  /// Partial sums cross ranks in float32; on a single rank a product is written in the computing type.
  DType partial() const { return cut.tensor > 1 ? DType::float32 : cut.compute; }
};

}  // namespace penstock
