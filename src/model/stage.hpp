// SPDX-License-Identifier: Apache-2.0
#pragma once
// Stage: the part of the model that one pipeline stage computes, for microbatches that have their places in memory.
// R rows of the residual stream on this rank, C channels.

#include <optional>
#include <vector>

#include "model/block.hpp"
#include "model/embedding_layer.hpp"
#include "model/head.hpp"
#include "model/partition.hpp"

namespace penstock {

/// Memory of the microbatches in flight, by blocks: the stages of a rank use it in turn.
struct BlockMemory {
  std::vector<BlockActivations> activations;
  std::vector<Block::Held> held;
};

/// How many microbatches a last stage must keep at once, by the schedule.
struct StageSlots {
  int ends = 0;  ///< outputs of its last block, from the forward pass to the input gradient
  int held = 0;  ///< of the head, from the input gradient to the weight gradient
  bool operator==(const StageSlots&) const = default;
};

/// The places of one microbatch's tensors in a stage.
struct StagePlaces {
  std::vector<int> activations;  ///< of each block, in BlockMemory: from the forward pass to the end of the backward
  std::vector<int> held;         ///< of each block: from the input gradient to the weight gradient; fused: one for all
  std::optional<int> end = {};   ///< among the stage's ends; the last stage only
  std::optional<int> head = {};  ///< among what the head holds; the last stage only
  bool operator==(const StagePlaces&) const = default;
};

/// Training draws dropout masks; evaluation draws none and computes the loss in the forward pass.
enum class Purpose { training, evaluation };

class Stage {
 public:
  /// `memory` outlives the stage.
  Stage(ModelContext& context, const StagePart& part, const BlockMemory& memory, const StageSlots& slots, Arena& arena);

  const StagePart& part() const { return part_; }

  /// [R, C] the place of this stage's input; not used on the first stage.
  TensorView input(const StagePlaces& at) const { return kept(at, 0).input(); }

  /// Computes the blocks; the stage's output goes to `output` [R, C] (kept by the stage itself on the last).
  /// For evaluation the last stage adds the losses to *loss_sum.
  void forward(const MicrobatchView& microbatch, const StagePlaces& at, TensorView output, Purpose purpose,
               double* loss_sum) const;
  /// gradient [R, C]: in, of the stage's output (not read on the last stage); out, of its input.
  /// Fused: computes all gradients. Input only: stores what weight_gradient needs in `held`. The last stage adds the
  /// losses to *loss_sum, and computes the gradient of loss_scale times their sum.
  void input_gradient(const MicrobatchView& microbatch, const StagePlaces& at, TensorView gradient,
                      BackwardHalves halves, Accumulate accumulate, float loss_scale, double* loss_sum) const;
  void weight_gradient(const StagePlaces& at, Accumulate accumulate) const;

 private:
  int number(std::size_t block) const { return part_.first_block + static_cast<int>(block); }
  const BlockActivations& kept(const StagePlaces& at, std::size_t block) const {
    return memory_->activations[static_cast<std::size_t>(at.activations[block])];
  }
  const Block::Held& held(const StagePlaces& at, std::size_t block) const {
    return memory_->held[static_cast<std::size_t>(at.held[block])];
  }
  TensorView end(const StagePlaces& at) const { return ends_[static_cast<std::size_t>(at.end.value())]; }

  ModelContext* context_;
  StagePart part_;
  const BlockMemory* memory_;
  std::vector<Block> blocks_;
  std::optional<EmbeddingLayer> embedding_;
  std::optional<Head> head_;
  std::vector<TensorView> ends_;  ///< [R, C] each, last stage only
};

}  // namespace penstock
