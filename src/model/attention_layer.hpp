#pragma once
// Self-attention with its two products: qkv (column-parallel, by heads) and output (row-parallel).
// N tokens of the microbatch, R rows here, C channels; each rank computes its own heads for all N tokens.

#include <string>

#include "model/model_context.hpp"
#include "ops/attention.hpp"
#include "ops/linear.hpp"

namespace penstock {

/// Whether the scratch still holds the gathered gradient of the branch's output, or it must be gathered again.
enum class GatheredGradient { in_scratch, again };

class AttentionLayer {
 public:
  /// What the forward pass leaves for the backward pass.
  struct Activations {
    TensorView qkv;          ///< [N, 3 * local heads' channels]
    TensorView out;          ///< [N, local heads' channels]
    TensorView log_sum_exp;  ///< [B, local heads, T] float32
  };
  /// What the input gradient leaves for the weight gradient.
  struct Held {
    TensorView branch_gradient;  ///< [R, C] gradient of the output product, dropout undone
    TensorView dqkv;             ///< [N, 3 * local heads' channels]
  };
  static Activations take_activations(const ModelShape& shape, Arena& arena);
  static Held take_held(const ModelShape& shape, Arena& arena);
  /// The two products; the output's bias is added to its partial sums later, its gradient is taken with the product's.
  static ops::LinearShape qkv_product(const ModelShape& shape);
  static ops::LinearShape output_product(const ModelShape& shape);

  /// `name` is the parameters' prefix: "blocks.3.attention".
  AttentionLayer(ModelContext& context, std::string name);

  /// [R, C] from the normalized rows x [R, C]: the output product without its bias; lives in scratch.
  TensorView forward(const MicrobatchView& microbatch, const Activations& kept, TensorView x, bool with_dropout) const;
  /// The gradient of x [R, C], from held.branch_gradient; lives in scratch. Fills held.dqkv.
  TensorView input_gradient(const MicrobatchView& microbatch, const Activations& kept, const Held& held) const;
  /// Adds the gradients of both products' weights and biases.
  void weight_gradient(const Activations& kept, const Held& held, TensorView x, GatheredGradient gathered) const;

  TensorView output_bias() const { return context_->weight(name_ + ".output.bias"); }

 private:
  ops::AttentionShape attention_shape() const;

  ModelContext* context_;
  std::string name_;
  ops::Dropout dropout_;
};

}  // namespace penstock
