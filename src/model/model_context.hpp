// SPDX-License-Identifier: Apache-2.0
#pragma once
// Shared by all parts of a rank's model: the queue, the tensor axis, the sizes, and scratch that lives for one action.

#include "base/scoped_value.hpp"
#include "comm/communicator.hpp"
#include "device/queue.hpp"
#include "model/block_activations.hpp"
#include "model/model_shape.hpp"
#include "model/rotary_tables.hpp"
#include "model/taps.hpp"
#include "ops/dropout.hpp"
#include "parameter/block_watch.hpp"
#include "parameter/parameter_set.hpp"
#include "tensor/arena.hpp"

namespace penstock {

/// Scratch tensors that every block uses in turn; nothing in them outlives an action.
struct ModelScratch {
  ModelScratch(const ModelShape& shape, Arena& arena);

  TensorView gathered;           ///< [N, C] rows of all tensor ranks; absent if rows are not cut
  TensorView gathered_gradient;  ///< [N, C] likewise
  TensorView partial;            ///< [N, C] a product before its sum over the tensor axis
  TensorView core_gradient;      ///< [N, channels of the widest core that has a gradient of its own]
  BlockActivations remade;       ///< the recomputed parts of one block
};

/// One microbatch for the model; tensors are on the device.
struct MicrobatchView {
  int microbatch = 0;
  TensorView tokens;                            ///< [N] int32
  TensorView targets;                           ///< [N] int32
  const std::uint64_t* first_sample = nullptr;  ///< device memory
};

/// A parameter for its layer: looked up once, because names are long and a step uses it often.
struct Parameter {
  TensorView value;
  TensorView gradient;  ///< float32, or bfloat16 if nothing is added to it (RunConfig::gradient_type)
};

/// A tap's name, built only if taps are set.
struct TapName {
  std::string_view of;         ///< "blocks.3"
  std::string_view part = {};  ///< ".mlp.gradient"
  std::string text() const { return std::string(of) + std::string(part); }
};

/// References to objects that outlive the model.
class ModelContext {
 public:
  /// `queue` and `tensor_axis` may be null if nothing will be computed (a planning arena).
  ModelContext(const ModelShape& shape, std::uint64_t seed, Queue* queue, Communicator* tensor_axis,
               ParameterSet& parameters, const RotaryTables& rotary, ModelScratch& scratch)
      : shape_(shape),
        seed_(seed),
        queue_(queue),
        tensor_axis_(tensor_axis),
        parameters_(&parameters),
        rotary_(&rotary),
        scratch_(&scratch) {}

  const ModelShape& shape() const { return shape_; }
  Queue& queue() const { return *queue_; }
  ModelScratch& scratch() const { return *scratch_; }

  /// `use`: which use of a tied parameter.
  Parameter parameter(const std::string& name, std::size_t use = 0) const {
    return {.value = parameters_->weight(name), .gradient = parameters_->gradient(name, use)};
  }

  /// Rows of all tensor ranks [N, C] from this rank's [R, C]: an all-gather into `landing` if rows are cut, otherwise
  /// `rows` itself.
  TensorView gather_rows(TensorView rows, TensorView landing) const;
  /// `gathered` if present and filled; otherwise gathers now, into scratch.
  TensorView tokens_of(TensorView rows, TensorView gathered) const {
    return gathered.present() ? gathered : gather_rows(rows, scratch_->gathered);
  }
  /// This rank's rows [R, C] of the sum over tensor ranks of `partial` [N, C]; in place.
  TensorView sum_partials(TensorView partial) const;
  /// Gathers all tensor ranks' pieces, in coordinate order, into `all` [ranks, ...], whose own part is filled.
  void exchange(TensorView own_part, TensorView all) const;

  /// [T, D] float32, of an attention that rotates.
  TensorView rotary_table(const AttentionCore& attention) const { return rotary_->of(attention); }

  ops::Dropout dropout(const std::string& site, double probability) const {
    return {.probability = probability, .key = random_key(seed_, site)};
  }
  ops::TokenRows token_rows(const MicrobatchView& microbatch) const {
    return {.first_sample = microbatch.first_sample, .first_row = shape_.first_row(), .sequence = shape_.sequence};
  }

  /// Follows the blocks of the passes in the scope; nullptr: nobody does.
  [[nodiscard]] ScopedValue<BlockWatch*> watched_by(BlockWatch* watch) { return {watch_, watch}; }
  BlockWatch* watch() const { return watch_; }

  /// Receives the taps' values while the scope lasts. The sink outlives the scope.
  [[nodiscard]] ScopedValue<TapSink*> tapped_by(TapSink& taps) { return {taps_, &taps}; }
  bool has_taps() const { return taps_ != nullptr; }
  bool taps(const TapName& name) const { return taps_ && taps_->wants(name.text()); }
  void record(const TapName& name, const MicrobatchView& microbatch, TensorView values) const {
    if (taps(name)) taps_->record(*queue_, name.text(), microbatch.microbatch, values);
  }
  void record_columns(const TapName& name, const MicrobatchView& microbatch, TensorView rows, std::int64_t first,
                      std::int64_t columns) const {
    if (taps(name)) taps_->record_columns(*queue_, name.text(), microbatch.microbatch, rows, first, columns);
  }

 private:
  ModelShape shape_;
  std::uint64_t seed_;
  Queue* queue_;
  Communicator* tensor_axis_;
  ParameterSet* parameters_;
  const RotaryTables* rotary_;
  ModelScratch* scratch_;
  BlockWatch* watch_ = nullptr;
  TapSink* taps_ = nullptr;
};

}  // namespace penstock
