#include "pipeline/executor.hpp"

#include <algorithm>

namespace penstock {

namespace {

// Messages between two stages keep their order; activations and gradients of a stage do not overtake each other's
// matching because each has a tag of its own. Tags 0 and 1 belong to collectives and to the tied sum.
int activation_tag(int receiving_stage) { return 2 + 2 * receiving_stage; }
int gradient_tag(int receiving_stage) { return 3 + 2 * receiving_stage; }

}  // namespace

Executor::Executor(RankModel& model, Communicators& communicators, Queue& queue, int pipeline_rank)
    : model_(&model), communicators_(&communicators), queue_(&queue), pipeline_rank_(pipeline_rank) {}

StepResult Executor::train(const Schedule& schedule, const StepTokens& tokens, const StepValues& values) {
  return run(schedule, tokens, values, Purpose::training);
}

double Executor::evaluate(const Schedule& schedule, const StepTokens& tokens, const StepValues& values) {
  return run(schedule, tokens, values, Purpose::evaluation).loss;
}

StepResult Executor::run(const Schedule& schedule, const StepTokens& tokens, const StepValues& values,
                         Purpose purpose) {
  running_ = {.schedule = &schedule, .values = values, .purpose = purpose};
  queue_->clear_marks();
  transfers_.clear();
  for (const auto& [number, memory] : model_->stages()) transfers_[number].pools = stage_pools(schedule, number);
  load(tokens);
  for (const Action& action : schedule.row(pipeline_rank_)) {
    execute(action);
    queue_->mark();
  }
  finish_transfers();
  return model_->optimizer().result(*queue_);
}

void Executor::load(const StepTokens& tokens) {
  const auto tokens_of_one = static_cast<std::size_t>(model_->shape().tokens());
  for (std::size_t m = 0; m < tokens.microbatches.size(); ++m) {
    const StepTokens::Microbatch& from = tokens.microbatches[m];
    const RankModel::HostInputs to = model_->host_inputs(static_cast<int>(m));
    std::copy_n(from.tokens, tokens_of_one, to.tokens);
    std::copy_n(from.targets, tokens_of_one, to.targets);
    *to.first_sample = from.first_sample;
  }
  model_->publish_inputs(*queue_);
  // Every tensor rank of the last stage has the whole loss: one of them brings it.
  model_->optimizer().begin_step(*queue_, {.number = running_.values.update,
                                           .learning_rate = running_.values.learning_rate,
                                           .loss_tokens = running_.values.tokens,
                                           .brings_loss = model_->shape().tensor_coordinate == 0});
}

MicrobatchView Executor::view(int microbatch) const {
  return {.microbatch = microbatch,
          .tokens = model_->tokens(microbatch),
          .targets = model_->targets(microbatch),
          .first_sample = model_->first_sample(microbatch)};
}

void Executor::execute(const Action& action) {
  Optimizer& optimizer = model_->optimizer();
  switch (action.work) {
    case Work::gather_parameters:
      return optimizer.gather_parameters(*queue_);
    case Work::forward:
      return forward(action);
    case Work::input_gradient:
      return input_gradient(action, BackwardHalves::input_only);
    case Work::weight_gradient:
      return weight_gradient(action);
    case Work::backward:
      return input_gradient(action, BackwardHalves::fused);
    case Work::send_activation:
      return send_activation(action);
    case Work::receive_activation:
      return receive_activation(action);
    case Work::send_gradient:
      return send_gradient(action);
    case Work::receive_gradient:
      return receive_gradient(action);
    case Work::reduce_gradients:
      return optimizer.reduce_gradients(*queue_);
    case Work::tied_sum:
      return optimizer.sum_tied(*queue_);
    case Work::norm:
      return optimizer.norm(*queue_);
    case Work::update:
      return optimizer.update(*queue_);
  }
}

void Executor::wait(std::map<int, Event>& events, int key) {
  const auto found = events.find(key);
  if (found == events.end()) return;
  communicators_->pipeline.wait(found->second);
  events.erase(found);
}

void Executor::forward(const Action& action) {
  StageTransfers& transfers = transfers_.at(action.stage);
  RankModel::StageMemory& memory = model_->stage(action.stage);
  take_slots(*running_.schedule, action, transfers.pools);
  wait(transfers.received_inputs, action.microbatch);
  TensorView output;
  if (transfers.pools.outputs.has(action.microbatch)) {
    const int buffer = transfers.pools.outputs.of(action.microbatch);
    wait(transfers.sent_outputs, buffer);
    output = memory.outputs[static_cast<std::size_t>(buffer)];
  }
  memory.stage.forward(view(action.microbatch), transfers.pools.activations.of(action.microbatch), output,
                       running_.purpose, model_->optimizer().loss_sum());
  release_slots(*running_.schedule, action, transfers.pools);
  if (running_.purpose == Purpose::evaluation)
    transfers.pools.activations.release(action.microbatch);  // no backward will
}

void Executor::input_gradient(const Action& action, BackwardHalves halves) {
  StageTransfers& transfers = transfers_.at(action.stage);
  RankModel::StageMemory& memory = model_->stage(action.stage);
  take_slots(*running_.schedule, action, transfers.pools);
  wait(transfers.received_gradients, action.microbatch);
  const int buffer = transfers.pools.gradients.of(action.microbatch);
  wait(transfers.sent_gradients, buffer);
  memory.stage.input_gradient(view(action.microbatch), transfers.pools.activations.of(action.microbatch),
                              transfers.pools.held.of(action.microbatch),
                              memory.gradients[static_cast<std::size_t>(buffer)], halves,
                              1.0F / static_cast<float>(running_.values.tokens), model_->optimizer().loss_sum());
  release_slots(*running_.schedule, action, transfers.pools);
}

void Executor::weight_gradient(const Action& action) {
  StageTransfers& transfers = transfers_.at(action.stage);
  model_->stage(action.stage)
      .stage.weight_gradient(transfers.pools.activations.of(action.microbatch),
                             transfers.pools.held.of(action.microbatch));
  release_slots(*running_.schedule, action, transfers.pools);
}

void Executor::send_activation(const Action& action) {
  StageTransfers& transfers = transfers_.at(action.stage);
  const int buffer = transfers.pools.outputs.of(action.microbatch);
  const int receiver = action.stage + 1;
  transfers.sent_outputs[buffer] =
      communicators_->pipeline.send(model_->stage(action.stage).outputs[static_cast<std::size_t>(buffer)],
                                    coordinate_of(receiver), activation_tag(receiver));
  release_slots(*running_.schedule, action, transfers.pools);
}

void Executor::receive_activation(const Action& action) {
  StageTransfers& transfers = transfers_.at(action.stage);
  take_slots(*running_.schedule, action, transfers.pools);
  const TensorView landing = model_->stage(action.stage).stage.input(transfers.pools.activations.of(action.microbatch));
  transfers.received_inputs[action.microbatch] =
      communicators_->pipeline.receive(landing, coordinate_of(action.stage - 1), activation_tag(action.stage));
}

void Executor::send_gradient(const Action& action) {
  StageTransfers& transfers = transfers_.at(action.stage);
  const int buffer = transfers.pools.gradients.of(action.microbatch);
  const int receiver = action.stage - 1;
  transfers.sent_gradients[buffer] =
      communicators_->pipeline.send(model_->stage(action.stage).gradients[static_cast<std::size_t>(buffer)],
                                    coordinate_of(receiver), gradient_tag(receiver));
  release_slots(*running_.schedule, action, transfers.pools);
}

void Executor::receive_gradient(const Action& action) {
  StageTransfers& transfers = transfers_.at(action.stage);
  take_slots(*running_.schedule, action, transfers.pools);
  const int buffer = transfers.pools.gradients.of(action.microbatch);
  wait(transfers.sent_gradients, buffer);
  transfers.received_gradients[action.microbatch] =
      communicators_->pipeline.receive(model_->stage(action.stage).gradients[static_cast<std::size_t>(buffer)],
                                       coordinate_of(action.stage + 1), gradient_tag(action.stage));
}

void Executor::finish_transfers() {
  for (auto& [stage, transfers] : transfers_)
    for (auto* events : {&transfers.received_inputs, &transfers.received_gradients, &transfers.sent_outputs,
                         &transfers.sent_gradients})
      while (!events->empty()) wait(*events, events->begin()->first);
}

std::string Executor::place() const {
  if (!running_.schedule) return "before the first step";
  return fmt::format("at update {}, {}", running_.values.update,
                     row_with_mark(*running_.schedule, pipeline_rank_, queue_->marks_passed()));
}

}  // namespace penstock
