#pragma once
// Optimizer: the whole-step actions of the schedule: sums of gradients, the norm, AdamW, and the all-gather of what it
// updated. Every sum of gradients across ranks is taken here.

#include <cmath>
#include <cstdint>
#include <vector>

#include "comm/communicators.hpp"
#include "ops/adamw.hpp"
#include "optim/optimizer_config.hpp"
#include "parameter/parameter_set.hpp"

namespace penstock {

/// Pipeline coordinates of the two stages that share the token table.
struct TiedPeers {
  int first = 0;
  int last = 0;
};

/// What a step says when it is over; the same on every rank.
struct StepResult {
  double loss = 0;           ///< mean over the tokens of the global batch, nats
  double gradient_norm = 0;  ///< before clipping
};
inline bool is_finite(const StepResult& result) {
  return std::isfinite(result.loss) && std::isfinite(result.gradient_norm);
}

class Optimizer {
 public:
  /// `communicators` may be null on a planning arena.
  Optimizer(const OptimizerConfig& config, ParameterSet& parameters, Communicators* communicators, TiedPeers tied,
            Arena& arena);

  /// After master weights were initialized or loaded: makes the computing copies of this rank's own range.
  void publish(Queue& queue);
  /// G: all-gather of the updated weights along the data axis; gradients become zero.
  void gather_parameters(Queue& queue);
  /// R: sums over tokens that are cut along the tensor axis, then over the data axis (to the own range, where sharded).
  void reduce_gradients(Queue& queue);
  /// T: the sum of the token table's two gradients, where its two stages are on different ranks.
  void sum_tied(Queue& queue);
  /// N: the global norm, each global element counted once: squares are added by parameter, then in name order. The sum
  /// of losses travels along; `loss_tokens` is the number of tokens it spans.
  StepResult norm(Queue& queue, double loss_sum, std::int64_t loss_tokens);
  /// U: AdamW on the own range, update number `update` from 1 on. Clips by the last norm.
  void update(Queue& queue, double learning_rate, std::int64_t update);

 private:
  TensorView own_gradient(std::size_t bucket) const;
  std::vector<ops::AdamWPiece> pieces() const;

  OptimizerConfig config_;
  ParameterSet* parameters_;
  Communicators* communicators_;
  TiedPeers tied_;
  TensorView tied_landing_;  ///< own range of the tied bucket, from the peer
  TensorView totals_;        ///< float64 [1 + parameters]: the loss, then each parameter's sum of squares
  std::vector<ops::AdamWPiece> pieces_;
  double gradient_norm_ = 0;
};

}  // namespace penstock
