#pragma once
// Stage: the part of the model that one pipeline stage computes, for microbatches in numbered slots.
// R rows of the residual stream on this rank, C channels.

#include <optional>
#include <vector>

#include "model/block.hpp"
#include "model/embedding_layer.hpp"
#include "model/head.hpp"
#include "model/partition.hpp"

namespace penstock {

/// How many microbatches a stage has to keep at once; the schedule says.
struct StageSlots {
  int activations = 1;  ///< from forward to the end of the backward pass
  int held = 1;         ///< from the input gradient to the weight gradient
  /// input_only: some weight gradient comes later than its block's input gradient.
  BackwardHalves backward = BackwardHalves::input_only;
};

/// Training draws dropout masks; evaluation draws none and computes the loss in the forward pass.
enum class Purpose { training, evaluation };

class Stage {
 public:
  Stage(ModelContext& context, const StagePart& part, const StageSlots& slots, Arena& arena);

  const StagePart& part() const { return part_; }

  /// [R, C] where the stage before puts this stage's input; not used on the first stage.
  TensorView input(int slot) const { return slots_[static_cast<std::size_t>(slot)].front().x; }

  /// Computes the slot's blocks; the stage's output goes to `output` [R, C] (kept by the stage itself on the last).
  /// For evaluation the last stage adds the losses to *loss_sum.
  void forward(const MicrobatchView& microbatch, int slot, TensorView output, Purpose purpose, double* loss_sum) const;
  /// gradient [R, C]: in, of the stage's output (not read on the last stage); out, of its input.
  /// Fused: adds all gradients. Input only: leaves what weight_gradient needs in `held`.
  /// The last stage adds the losses to *loss_sum, and takes the gradient of loss_scale times their sum.
  void input_gradient(const MicrobatchView& microbatch, int slot, int held, TensorView gradient, BackwardHalves halves,
                      float loss_scale, double* loss_sum) const;
  void weight_gradient(int slot, int held) const;

 private:
  ModelContext* context_;
  StagePart part_;
  BackwardHalves backward_;
  std::vector<Block> blocks_;
  std::optional<EmbeddingLayer> embedding_;
  std::optional<Head> head_;
  std::vector<std::vector<BlockActivations>> slots_;  ///< [slot][block]
  std::vector<TensorView> last_output_;               ///< [slot], last stage only
  std::vector<std::vector<Block::Held>> held_;        ///< [held][block]
};

}  // namespace penstock
