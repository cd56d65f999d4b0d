#pragma once
// Executor: walks this rank's row of the table. It knows actions, not schedules.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pipeline/rank_model.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// The tokens one data rank works through in a step, in host memory.
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
  Executor(RankModel& model, Communicators& communicators, Queue& queue, int pipeline_rank);

  /// One training step: every action of the row, in order; forward, backward, sums, norm and update.
  /// What goes wrong in here must end the job: nobody may unwind past a posted transfer.
  StepResult train(const Schedule& schedule, const StepTokens& tokens, const StepValues& values);

  /// Forward passes only (a table of evaluation_schedule), without dropout; the mean loss over `values.tokens` tokens.
  double evaluate(const Schedule& schedule, const StepTokens& tokens, const StepValues& values);

  /// When the actions of the row that ran last began and ended on the device, without what they waited for; seconds
  /// since the step's begin.
  std::vector<Span> spans() const;

  /// Where in the row this rank's device is; and the row around that place. For reports.
  Place place() const;
  std::string row() const;

 private:
  struct Running {
    const Schedule* schedule = nullptr;  ///< none before the first step and behind an evaluation
    StepValues values{.update = 0};
    Purpose purpose = Purpose::training;
  };
  /// Transfers of one stage that may still be under way.
  struct StageTransfers {
    std::map<int, Event> received_inputs;     ///< by microbatch
    std::map<int, Event> received_gradients;  ///< by microbatch
    std::map<int, Event> sent_outputs;        ///< by buffer
    std::map<int, Event> sent_gradients;      ///< by buffer
  };

  StepResult run(const Schedule& schedule, const StepTokens& tokens, const StepValues& values, Purpose purpose);
  void load(const StepTokens& tokens);
  void await(const Action& action);
  void execute(const Action& action);
  void mark_span();
  std::size_t actions_passed() const;
  void forward(const Action& action);
  void input_gradient(const Action& action, BackwardHalves halves);
  void weight_gradient(const Action& action);
  /// The transfers [begin, end) of the row, which are launched together.
  void transfer(std::size_t begin, std::size_t end);
  Message message(const Action& action);
  /// Where the Event of a transfer is kept until its buffer is used.
  Event& event_of(const Action& action);
  void finish_transfers();

  MicrobatchView view(int microbatch) const;
  /// Where a stage puts what it hands on; absent on the last one.
  TensorView output(const Action& forward);
  /// What carries the gradient through a stage, and its number among the buffers of the chain's last stage.
  int gradient_buffer(const Action& action);
  TensorView gradient(const Action& action);
  int coordinate_of(int stage) const { return running_.schedule->rank_of_stage(stage); }
  void wait(std::map<int, Event>& events, int key);

  RankModel* model_;
  Communicators* communicators_;
  Queue* queue_;
  int pipeline_rank_;
  Running running_;
  RankPools pools_;
  std::map<int, StageTransfers> transfers_;  ///< by stage
};

}  // namespace penstock
