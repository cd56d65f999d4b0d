// SPDX-License-Identifier: Apache-2.0
#pragma once
// Executor: walks this rank's row of the table. It knows actions, not schedules.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "device/marks.hpp"
#include "device/recording.hpp"
#include "pipeline/rank_model.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// The tokens of one data rank in a step, in host memory.
struct StepTokens {
  struct Microbatch {
    std::uint64_t first_sample = 0;
    const std::int32_t* tokens = nullptr;   ///< [micro * sequence]
    const std::int32_t* targets = nullptr;  ///< [micro * sequence]
  };
  std::vector<Microbatch> microbatches;
};

/// Values of one step.
struct StepValues {
  std::int64_t update = 1;  ///< number of the update, from 1 on
  double learning_rate = 0;
  std::int64_t tokens = 1;  ///< of the global batch: the loss is their mean
};

class Executor {
 public:
  /// All references outlive the executor.
  Executor(World& world, RankModel& model, Communicators& communicators, Queue& queue);
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Enqueues one step: every action of the row, in order. For training (the model's row): forward, backward, sums,
  /// norm and update; `row` is another one for evaluation only, and outlives the step. Where the device runs behind the
  /// host (Queue::runs_behind_host), the next step may be launched before this one is finished; it changes nothing
  /// where this one's loss or norm is not finite. Over MPI it takes no memory but that of the first two steps. What
  /// goes wrong in here must end the job: nobody may unwind past a posted transfer.
  void launch(const StepTokens& tokens, const StepValues& values, Purpose purpose = Purpose::training,
              const RowPlan* row = nullptr);
  /// Of the oldest step under way; the host waits for its end.
  StepResult finish();
  StepResult train(const StepTokens& tokens, const StepValues& values) {
    launch(tokens, values);
    return finish();
  }

  /// Forward passes only (the row of an evaluation_schedule), without dropout; the mean loss over `values.tokens`
  /// tokens.
  double evaluate(const RowPlan& row, const StepTokens& tokens, const StepValues& values);

  /// When the actions of the last finished row began and ended on the device, without their waits; seconds since the
  /// step's begin.
  std::vector<Span> spans() const;

  /// Bytes that each of these actions moved between ranks: what its collectives sent from here; for a transfer, its
  /// message.
  const std::vector<std::uint64_t>& bytes() const;

  /// The place of this rank's device in the row, and the row around that place. For reports.
  Place place() const;
  std::string row() const;

 private:
  struct Flight {
    Marks marks;
    std::vector<std::uint64_t> bytes;  ///< by place in the row
    const RowPlan* row = nullptr;      ///< none before the first step and after an evaluation
    StepValues values{.update = 0};
    Purpose purpose = Purpose::training;
    bool under_way = false;
  };

  Flight& flight_of(std::int64_t update) { return flights_[static_cast<std::size_t>(update % 2)]; }
  Flight& begin_flight(const RowPlan& row, const StepValues& values, Purpose purpose);
  void load(const StepTokens& tokens, bool needs_the_last);
  /// Waits for the transfers that must end before an action.
  void await(const PlannedAction& planned);
  /// Whether the action's blocks are followed, so that messages of their parameters overlap it.
  bool is_watched(const PlannedAction& planned) const;
  /// Whether the action enqueues the same work in every step, and nothing for other ranks.
  bool repeats(const PlannedAction& planned) const;
  void execute(const PlannedAction& planned);
  static std::size_t actions_passed(Flight& flight);
  void input_gradient(const PlannedAction& planned, BackwardHalves halves);
  /// The transfers [begin, end) of the row, which are launched together.
  void transfer(std::size_t begin, std::size_t end);
  Message message(const PlannedAction& planned) const;

  const Stage& stage_of(const PlannedAction& planned) const { return model_->stage(planned.action.stage).stage; }
  MicrobatchView view(int microbatch) const;
  /// The output of a stage; absent on the last one.
  TensorView output(const PlannedAction& planned) const;
  /// The buffer that carries the gradient through a stage.
  TensorView gradient(const PlannedAction& planned) const;

  World* world_;
  RankModel* model_;
  Communicators* communicators_;
  Communicator* pipeline_;
  bool passes_speak_;  ///< with other ranks of the tensor axis
  Queue* queue_;
  std::array<Flight, 2> flights_;      ///< by turns
  Flight* launched_;                   ///< the last one
  Flight* oldest_;                     ///< under way; if none is, the last one
  Flight* finished_ = nullptr;         ///< last
  std::vector<Recording> recordings_;  ///< by place in the model's row, of its first passes
  std::vector<Event> events_;          ///< by place in the row: transfers that nobody has waited for yet
  std::vector<Message> messages_;      ///< of one launch
};

}  // namespace penstock
