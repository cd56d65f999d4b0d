// SPDX-License-Identifier: Apache-2.0
#pragma once
// Optimizer: the whole-step actions of the schedule: sums of gradients, the norm, AdamW, and the all-gather of the
// updated weights. Every sum of gradients across ranks is computed here.

#include <array>
#include <cstdint>
#include <vector>

#include "comm/communicators.hpp"
#include "ops/adamw.hpp"
#include "ops/squared_norm.hpp"
#include "ops/step_scalars.hpp"
#include "optim/optimizer_config.hpp"
#include "parameter/block_watch.hpp"
#include "parameter/parameter_set.hpp"

namespace penstock {

/// Pipeline coordinates of the two stages that share the token table.
struct TiedPeers {
  int first = 0;
  int last = 0;
};

/// The result of a step, the same on every rank.
struct StepResult {
  double loss = 0;           ///< mean over the tokens of the global batch, nats
  double gradient_norm = 0;  ///< before clipping
};

/// The inputs of a step's norm and update.
struct UpdateValues {
  std::int64_t number = 1;  ///< of the update, from 1 on
  double learning_rate = 0;
  std::int64_t loss_tokens = 1;  ///< that the losses of all ranks span
  bool brings_loss = true;       ///< whether this rank's sum of losses counts: several ranks may have the same
  bool needs_the_last = false;   ///< see ops::StepInputs
};

class Optimizer : public BlockWatch {
 public:
  /// Asks `communicators`, which may be null on a planning arena, for the `groups` of the parameters.
  Optimizer(const OptimizerConfig& config, ParameterSet& parameters, Communicators* communicators, TiedPeers tied,
            Arena& arena);

  /// After master weights and moments were initialized or loaded in the host's view: copies them to the device, and
  /// makes the computing copies of this rank's own range.
  void publish(Queue& queue);
  /// Before the actions of a step: passes its values to the device, which must have passed the last step but one.
  void begin_step(Queue& queue, const UpdateValues& values);
  /// G: all-gather of the updated weights along the axes of the replicas; the sum of losses becomes zero. Weights of
  /// blocks may still be on their way when the queue goes on: `before_weights` waits for them. Gradients keep what they
  /// hold: the first microbatch of a step overwrites them all, and the padding between them is never written.
  void gather_parameters(Queue& queue);
  void before_weights(int block) override;
  /// Begins the sums of the buckets that were waiting only for this block. May be called for all blocks of the rank, or
  /// for some.
  void behind_gradients(int block) override;
  /// R: the sums of GradientSums, inside a replica, then across replicas (to the own range, where sharded): those that
  /// have not begun, and the end of all.
  void reduce_gradients(Queue& queue);
  /// T: the sum of the token table's two gradients, if its two stages are on different ranks. (On one rank N and U add
  /// them as they read them: the same sum.)
  void sum_tied(Queue& queue);
  /// N: the global norm, each global element counted once: squares are added by parameter, then in name order. The sum
  /// of losses is included.
  void norm(Queue& queue);
  /// U: AdamW on the own range, clipped by the last norm; changes nothing if the last loss or norm is not finite.
  void update(Queue& queue);

  /// The groups along which the gradients of parameters are summed, each once.
  static std::vector<AxisSet> groups(const std::vector<ParameterSpec>& specs);
  /// Whether a bucket has several replicas: weights and gradients then travel while blocks are computed.
  bool has_replicas() const;
  /// Bytes of what `norm` sums over all ranks, for so many parameters of the model.
  static std::size_t norm_bytes(std::size_t parameters) { return (1 + parameters) * sizeof(double); }

  /// Device memory: the sum of this rank's losses, nats.
  double* loss_sum() const { return &scalars()->loss_sum; }
  /// After the actions of a step: enqueues the copy of its result. Valid once the device has passed it, until the next
  /// step but one begins.
  void bring_result(Queue& queue) const;
  StepResult result(std::int64_t number) const;
  /// Bytes of the queue's workspace that the actions need.
  std::size_t workspace_bytes() const { return ops::squared_norms_workspace(norm_pieces_); }

 private:
  /// The own range of one of a bucket's gradients; absent if there is no such gradient.
  TensorView own_gradient(std::size_t bucket, std::size_t use = 0) const;
  ops::StepInputs* inputs() const { return static_cast<ops::StepInputs*>(inputs_.raw()); }
  std::byte* result_on_host(std::int64_t number) const { return results_[static_cast<std::size_t>(number % 2)].data(); }
  ops::StepScalars* scalars() const { return static_cast<ops::StepScalars*>(scalars_.raw()); }
  std::vector<ops::AdamWPiece> update_pieces() const;
  ops::AdamWPiece update_piece(std::size_t bucket, std::int64_t begin, std::int64_t count, bool decay) const;
  std::vector<ops::NormPiece> norm_pieces() const;
  void begin_sums(std::size_t bucket);
  /// Finds the groups: names are looked up here, and not in a step.
  void join(Communicators& communicators);

  /// A bucket's groups, and its messages of one step.
  struct Traffic {
    Communicator* inside = nullptr;   ///< of GradientSums; none where nothing is summed there, and when planning
    Communicator* across = nullptr;   ///< likewise
    std::vector<int> blocks;          ///< that its parameters belong to, each once; with outside_blocks
    std::size_t blocks_left = 0;      ///< whose gradients are not whole yet
    std::vector<BucketRange> copied;  ///< whose gradients the holders of copies sum
    Event gathered;
    std::vector<Event> summed;  ///< by gradient, once they have begun
  };

  OptimizerConfig config_;
  ParameterSet* parameters_;
  Communicator* all_ = nullptr;       ///< none when planning, and so of the others
  Communicator* pipeline_ = nullptr;  ///< where a parameter is tied to one on another rank
  Communicator* holders_ = nullptr;   ///< of the same sections (Axis::copies), where there are any
  TiedPeers tied_;
  TensorView tied_landing_;  ///< own range of the tied bucket, from the peer
  TensorView totals_;        ///< float64 [1 + parameters]: the loss, then each parameter's sum of squares
  std::vector<ops::AdamWPiece> update_pieces_;
  std::vector<ops::NormPiece> norm_pieces_;
  std::vector<Traffic> traffic_;  ///< by bucket
  TensorView inputs_;             ///< one ops::StepInputs
  TensorView scalars_;            ///< one ops::StepScalars
  StepMirror inputs_on_host_;
  std::array<HostMemory, 2> results_;  ///< ops::StepScalars of the last two steps, alternating
  std::int64_t number_ = 0;            ///< of the last step that began
  bool brings_loss_ = true;
};

}  // namespace penstock
