#pragma once
// The MLP of a block: up (column-parallel, bias and GELU) and down (row-parallel).
// N tokens of the microbatch, R rows here, C channels, F local hidden channels (4 C / tensor ranks).

#include <string>

#include "model/attention_layer.hpp"
#include "model/model_context.hpp"
#include "ops/linear.hpp"

namespace penstock {

class MlpLayer {
 public:
  struct Activations {
    TensorView pre_activation;  ///< [N, F]; the input gradient overwrites it with its own gradient
    TensorView hidden;          ///< [N, F] after GELU
  };
  struct Held {
    TensorView branch_gradient;  ///< [R, C]
  };
  static Activations take_activations(const ModelShape& shape, Arena& arena);
  static Held take_held(const ModelShape& shape, Arena& arena);
  /// The two products; the bias of the second is added to its partial sums later, its gradient is taken with the
  /// product's.
  static ops::LinearShape up_product(const ModelShape& shape);
  static ops::LinearShape down_product(const ModelShape& shape);

  /// `name` is the parameters' prefix: "blocks.3.mlp".
  MlpLayer(ModelContext& context, std::string name) : context_(&context), name_(std::move(name)) {}

  /// [R, C] from the normalized rows x [R, C]: the down product without its bias; lives in scratch.
  TensorView forward(const Activations& kept, TensorView x) const;
  /// The gradient of x [R, C], from held.branch_gradient; lives in scratch.
  TensorView input_gradient(const Activations& kept, const Held& held) const;
  void weight_gradient(const Activations& kept, const Held& held, TensorView x, GatheredGradient gathered) const;

  TensorView output_bias() const { return context_->weight(name_ + ".down.bias"); }

 private:
  ModelContext* context_;
  std::string name_;
};

}  // namespace penstock
