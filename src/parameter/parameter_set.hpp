// SPDX-License-Identifier: Apache-2.0
#pragma once
// ParameterSet: the memory of a ParameterLayout.

#include <functional>
#include <string_view>
#include <vector>

#include "device/copy.hpp"
#include "parameter/parameter_layout.hpp"
#include "tensor/arena.hpp"

namespace penstock {

/// One bucket's arrays. Flat, one-dimensional.
struct BucketMemory {
  TensorView weights;                 ///< [elements] the bucket's type; the model computes with them
  std::vector<TensorView> gradients;  ///< one for each use, [elements] of the bucket's type_of_gradient
  TensorView master;                  ///< [own] float32; part of `weights` itself if the type is float32
  TensorView first_moment;            ///< [own] float32
  TensorView second_moment;           ///< [own] float32
};

class ParameterSet {
 public:
  /// `specs` outlive it: of models with thousands of layers each of thousands of ranks is planned.
  ParameterSet(const std::vector<ParameterSpec>& specs, ParameterLayout layout, Arena& arena);
  ParameterSet(std::vector<ParameterSpec>&& specs, ParameterLayout layout, Arena& arena) = delete;

  const std::vector<ParameterSpec>& specs() const { return *specs_; }
  const ParameterLayout& layout() const { return layout_; }
  const BucketMemory& memory(std::size_t bucket) const { return memory_[bucket]; }

  /// The local tensor for computing, with the rows of the parameters that follow it (ParameterSpec::follows). Throws
  /// LogicError for a parameter that is not on this rank.
  TensorView weight(std::string_view name) const;
  /// The local gradient tensor of one use (an index into the spec's stages; 0 unless the parameter is tied).
  /// Throws LogicError if the stage of that use is not on this rank.
  TensorView gradient(std::string_view name, std::size_t use = 0) const;

  /// The master weights of an owned box in the host's view, dense; they take effect by publish_state. On a GPU they do
  /// not show later updates of the device.
  float* master(const OwnedBox& owned) const;
  float* first_moment(const OwnedBox& owned) const;
  float* second_moment(const OwnedBox& owned) const;

  /// Sets master weights of step 0 and zero moments in the host's view, with `threads` >= 1 of the host; the bits do
  /// not depend on their number.
  void initialize(std::uint64_t seed, int threads = 1);
  /// Copies master weights and moments from the host's view to the device, and waits for the copy.
  void publish_state(Queue& queue) const;

  /// For saves during training: see HostMirror. `stage_state` begins to copy the present state; `hold_for_staging`
  /// makes the queue wait for those copies, before an update.
  void prepare_staging();
  void stage_state(Queue& queue);
  void hold_for_staging(Queue& queue) const;
  /// From any thread: whether the staged state is complete, and the staged state of an owned box, dense.
  bool is_staged() const;
  const float* staged_master(const OwnedBox& owned) const;
  const float* staged_first_moment(const OwnedBox& owned) const;
  const float* staged_second_moment(const OwnedBox& owned) const;

 private:
  struct Place {
    std::size_t bucket;
    const BucketEntry* entry;
    const ParameterSpec* spec;
    std::int64_t elements;  ///< including those of the parameters that follow
    Shape shape;            ///< likewise
  };
  Place find(std::string_view name) const;

  const std::vector<ParameterSpec>* specs_;
  ParameterLayout layout_;
  std::vector<BucketMemory> memory_;
  struct StateMirrors {
    HostMirror master, first_moment, second_moment;
    template <typename Function>
    void each(const Function& function) {
      function(master), function(first_moment), function(second_moment);
    }
    template <typename Function>
    void each(const Function& function) const {
      function(master), function(first_moment), function(second_moment);
    }
  };
  std::vector<StateMirrors> mirrors_;  ///< one for each bucket
};

}  // namespace penstock
