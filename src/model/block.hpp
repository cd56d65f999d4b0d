#pragma once
// A pre-norm transformer block: x1 = x + dropout(attention(norm(x))), out = x1 + dropout(mlp(norm(x1))).
// R rows of the residual stream here, C channels.

#include <string>

#include "model/attention_layer.hpp"
#include "model/mlp_layer.hpp"
#include "ops/layer_norm.hpp"

namespace penstock {

/// Which halves of the backward pass to compute: the input gradient alone (I), or each product's weight gradient right
/// behind its input gradient (B, fused).
enum class BackwardHalves { input_only, fused };

class Block {
 public:
  /// Of one microbatch in flight.
  struct Activations {
    TensorView x;                               ///< [R, C] the block's input
    TensorView attention_mean, attention_rstd;  ///< [R] float32
    TensorView attention_input;                 ///< [R, C] normalized
    AttentionLayer::Activations attention;
    TensorView middle;              ///< [R, C] after the attention branch joined
    TensorView mlp_mean, mlp_rstd;  ///< [R] float32
    TensorView mlp_input;           ///< [R, C] normalized
    MlpLayer::Activations mlp;
  };
  /// From the input gradient to the weight gradient.
  struct Held {
    AttentionLayer::Held attention;
    MlpLayer::Held mlp;
  };
  static Activations take_activations(const ModelShape& shape, Arena& arena);
  static Held take_held(const ModelShape& shape, Arena& arena);

  Block(ModelContext& context, int index);

  /// Reads kept.x, fills the rest of `kept` and `out` [R, C].
  void forward(const MicrobatchView& microbatch, const Activations& kept, TensorView out, bool with_dropout) const;
  /// gradient [R, C]: in, of the block's output; out, of its input.
  void input_gradient(const MicrobatchView& microbatch, const Activations& kept, const Held& held, TensorView gradient,
                      BackwardHalves halves) const;
  /// Adds the gradients of the four products' weights and biases, from what input_gradient left.
  void weight_gradient(const Activations& kept, const Held& held) const;

 private:
  void record_branch(const std::string& tap, const MicrobatchView& microbatch, const ops::Residual& joined) const;

  ModelContext* context_;
  std::string name_;  ///< "blocks.3"
  AttentionLayer attention_;
  MlpLayer mlp_;
  ops::Dropout attention_dropout_;
  ops::Dropout mlp_dropout_;
};

}  // namespace penstock
