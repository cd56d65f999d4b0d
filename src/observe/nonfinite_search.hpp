// SPDX-License-Identifier: Apache-2.0
#pragma once
// NonfiniteSearch: finds the origin of the first number that made a step's loss or gradient norm infinite or NaN.

#include <functional>
#include <string>

#include "comm/world.hpp"
#include "pipeline/executor.hpp"
#include "pipeline/rank_model.hpp"

namespace penstock {

struct NonfiniteFind {
  std::string text;    ///< what, in which layer, microbatch and on which rank; the same on every rank
  StepResult result;   ///< of the step when it was computed again; otherwise of the step itself
  bool again = false;  ///< whether it was computed again
  bool in_weights = false;
};

/// A step whose loss or norm is not finite has changed nothing: the optimizer left weights and moments unchanged. So
/// weights are checked first; then the step is computed once more, with the same samples and dropout, and every tap is
/// checked. Costs nothing if everything is finite.
class NonfiniteSearch {
 public:
  /// All references outlive it.
  NonfiniteSearch(World& world, RankModel& model, Queue& queue, const ModelPlan& plan)
      : world_(&world), model_(&model), queue_(&queue), plan_(&plan) {}

  /// Collective. `result` is the step's, `again` computes it once more. Its result is in the find: if finite, the step
  /// is done.
  NonfiniteFind find(const StepResult& result, const StepTokens& tokens, const std::function<StepResult()>& again);

 private:
  /// "blocks.5.mlp.up.weight[37, 12] is nan", of this rank's weights or gradients; empty if all are finite.
  std::string in_parameters(const std::function<std::vector<TensorView>(const BucketMemory&)>& of) const;
  /// The same for one array of a bucket.
  std::string in_bucket(const Bucket& bucket, TensorView values) const;
  std::string element(const ParameterSpec& spec, std::int64_t local) const;
  /// The first of all ranks' taps; `result` becomes that of the step computed again.
  std::string first_tap(const StepTokens& tokens, const std::function<StepResult()>& again, StepResult& result);
  /// The texts of the ranks, from the first one that has a text.
  std::string said_by_ranks(const std::string& mine) const;

  World* world_;
  RankModel* model_;
  Queue* queue_;
  const ModelPlan* plan_;
};

bool is_finite(const StepResult& result);

}  // namespace penstock
