// SPDX-License-Identifier: Apache-2.0
#pragma once
// ModelDescription: a transformer as a value. A family (families/) makes it from the deck. Parameters, activations,
// what a policy recomputes, products, operations, the partition, taps and the deck's checks follow from it.
//
// A block is a sequence of pre-norm residual branches, x <- x + dropout(out(core(in(norm(x))))). `in` is cut by its
// outputs along the tensor axis and `out` by its inputs (Shoeybi et al., arXiv 1909.08053); a core needs no other rank.
// C is the width of the residual stream. Extents are those of the whole model.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/model_config.hpp"
#include "ops/activation.hpp"
#include "ops/rotary_table.hpp"

namespace penstock {

enum class NormKind {
  layer,  ///< LayerNorm, with a bias
  rms,    ///< RMSNorm
};

/// Outputs of a product that are divided separately along the tensor axis: the heads of q, or hidden channels.
struct OutputSection {
  std::string_view key;       ///< of the deck, for messages: "model.heads"
  std::int64_t units = 0;     ///< that are not divided among ranks: heads
  std::int64_t channels = 1;  ///< of a unit
  bool copied = false;        ///< several ranks may hold one unit, if there are fewer units than ranks

  std::int64_t extent() const { return units * channels; }
  /// Number of parts of the section for `ranks` ranks: the number of units if that is smaller.
  int parts(int ranks) const { return copied && units < ranks ? static_cast<int>(units) : ranks; }
};

/// A weight (and a bias), with its name in checkpoints below the branch's: "qkv".
struct InWeight {
  std::string name;
  std::vector<OutputSection> sections;

  std::int64_t outputs() const;
};

/// The product a branch begins with: [C] -> the outputs of its weights, which are one matrix in memory, one after the
/// other.
struct InProduct {
  std::vector<InWeight> weights;
  bool bias = false;

  std::int64_t outputs() const;
  /// On one of `ranks` ranks.
  std::int64_t outputs(int ranks) const;
};

/// The product a branch ends with: the core's channels -> [C].
struct OutProduct {
  std::string name;
  bool bias = false;
};

/// Causal self-attention; its sections are the heads of q, k and v.
struct AttentionCore {
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;  ///< of k and v, a divisor of `heads`
  std::int64_t head_channels = 1;
  std::int64_t window = 0;                         ///< positions that a query sees, itself included; 0: all before it
  std::optional<ops::RotaryAngles> rotation = {};  ///< of q and k; none: positions are learned
  bool query_key_norm = false;                     ///< an RMSNorm of each head of q and k, before the rotation
  double dropout = 0;                              ///< share of the probabilities set to zero

  std::int64_t channels() const { return heads * head_channels; }
  /// Whether attention's input needs a place of its own, because the gradient of the norms needs the product's output.
  bool rotates_apart() const { return query_key_norm; }
};

struct MlpCore {
  ops::Activation activation = ops::Activation::swiglu;
  std::int64_t hidden = 0;

  std::int64_t channels() const { return hidden; }
};

struct BranchDescription {
  std::string name;  ///< "attention": prefix of its parameters, tap, share of the memory plan
  InProduct in;
  std::variant<AttentionCore, MlpCore> core;
  OutProduct out;
  double dropout = 0;  ///< share of its outputs set to zero

  /// Channels between core and `out`.
  std::int64_t core_channels() const;
  /// nullptr if the core is another.
  const AttentionCore* attention() const { return std::get_if<AttentionCore>(&core); }
  const MlpCore* mlp() const { return std::get_if<MlpCore>(&core); }
  /// Whether the activation can be part of the products around it; its input is kept for the backward pass.
  bool activation_in_products() const;
};

/// The most branches of a block: a constant, because a step copies tables of them.
inline constexpr std::size_t most_branches = 2;

struct BlockDescription {
  std::vector<BranchDescription> branches;
};

struct ModelDescription {
  std::int64_t width = 0;  ///< C
  std::int64_t vocabulary = 0;
  std::int64_t positions = 0;      ///< longest sequence
  bool learned_positions = false;  ///< a table of them is added to the embedding
  bool tied = false;               ///< the token table is the head's weight, too
  NormKind norm = NormKind::layer;
  double norm_epsilon = 1e-5;
  double deviation = 0.02;           ///< of initial weights, normal
  double residual_deviation = 0.02;  ///< of the products that branches end with
  double dropout_embedding = 0;
  std::vector<BlockDescription> kinds;  ///< of blocks; they may differ in windows, rotations and dropout
  std::vector<std::size_t> blocks;      ///< the kind of each block

  std::int64_t layers() const { return static_cast<std::int64_t>(blocks.size()); }
  const BlockDescription& block(int index) const { return kinds[blocks[static_cast<std::size_t>(index)]]; }
  /// Names of the branches of all kinds, each once, in order.
  std::vector<std::string> branch_names() const;
};

/// The model that a deck describes: `config.family` chooses the file in families/. Checks nothing: a deck's mistakes
/// are found in the result. Throws LogicError for a family that the deck's table does not admit.
ModelDescription describe_model(const ModelConfig& config);

/// Memory and products are planned by the first kind, and serve all. Throws LogicError for kinds that differ in
/// extents, heads, biases or activations.
void ensure_kinds_are_alike(const ModelDescription& model);

/// Floating-point operations of the forward pass per token.
struct PartCosts {
  double embedding = 0;
  std::vector<double> blocks;  ///< by block
  double head = 0;
};
/// Block: 2 for each element of its products' weights, and 2 (T + 1) for each channel of causal attention; head: 2 C V;
/// embedding: reading and adding rows, counted as 8 C. (Narayanan et al., arXiv 2104.04473, appendix; causal attention
/// counted at half.)
PartCosts part_costs(const ModelDescription& model, std::int64_t sequence);

/// The most tensor ranks that can share the model: no axis is longer than what it cuts.
std::int64_t most_tensor_ranks(const ModelDescription& model);

/// The number of neighbouring tensor ranks that hold copies of the same heads of k and v, if these are fewer than
/// ranks.
int copies_on_tensor_axis(const ModelDescription& model, int tensor);

/// Rows of a bias whose gradient is zero in exact arithmetic: those of keys that are not rotated. Softmax does not
/// change if a constant is added to all scores of a query. AdamW makes whole steps from the rounding errors, so these
/// rows differ between runs that do not agree bit for bit.
struct IdleRows {
  std::string parameter;
  std::int64_t begin = 0, end = 0;
};
std::vector<IdleRows> idle_rows(const ModelDescription& model);

/// Elements of all matrices and tables.
double matrix_elements(const ModelDescription& model);

}  // namespace penstock
