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
  const double loss = run(schedule, tokens, values, Purpose::evaluation).loss;
  running_.schedule = nullptr;  // the caller's, and soon gone
  return loss;
}

StepResult Executor::run(const Schedule& schedule, const StepTokens& tokens, const StepValues& values,
                         Purpose purpose) {
  running_ = {.schedule = &schedule, .values = values, .purpose = purpose};
  queue_->clear_marks();
  queue_->mark();
  transfers_.clear();
  pools_ = RankPools(schedule, pipeline_rank_);
  for (const auto& [stage, memory] : model_->stages()) {
    pools_.of(stage).outputs.limit(memory.outputs.size());
    pools_.of(stage).gradients.limit(memory.gradients.size());
    transfers_[stage];
  }
  load(tokens);
  const std::vector<Action>& row = schedule.row(pipeline_rank_);
  for (std::size_t begin = 0; begin < row.size();) {
    const std::size_t end = schedule.launch_end(pipeline_rank_, begin);
    if (is_transfer(row[begin].work)) {
      transfer(begin, end);
      for (std::size_t i = begin; i < end; ++i) mark_span();
    } else {
      await(row[begin]);
      queue_->mark();
      execute(row[begin]);
      queue_->mark();
    }
    begin = end;
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

// A transfer is only handed over: it takes no time of the computing lane.
void Executor::mark_span() {
  queue_->mark();
  queue_->mark();
}

std::vector<Span> Executor::spans() const {
  const std::vector<double> marks = queue_->mark_seconds();
  std::vector<Span> spans;
  for (std::size_t i = 1; i + 1 < marks.size(); i += 2) spans.push_back({marks[i], marks[i + 1]});
  return spans;
}

// What an action needs before it can begin: memory of its own, and transfers that have ended.
void Executor::await(const Action& action) {
  if (!is_compute(action.work) || action.work == Work::weight_gradient) return;
  pools_.take(action);
  if (action.work == Work::forward) {
    wait(transfers_.at(action.stage).received_inputs, action.microbatch);
    const StagePools& pools = pools_.of(action.stage);
    if (!pools_.is_here(action.stage + 1) && pools.outputs.has(action.microbatch))
      wait(transfers_.at(action.stage).sent_outputs, pools.outputs.of(action.microbatch));
    return;
  }
  wait(transfers_.at(action.stage).received_gradients, action.microbatch);
  wait(transfers_.at(pools_.end_of_chain(action.stage)).sent_gradients, gradient_buffer(action));
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
    case Work::reduce_gradients:
      return optimizer.reduce_gradients(*queue_);
    case Work::tied_sum:
      return optimizer.sum_tied(*queue_);
    case Work::norm:
      return optimizer.norm(*queue_);
    case Work::update:
      return optimizer.update(*queue_);
    default:
      throw LogicError("a transfer is not computed");
  }
}

void Executor::wait(std::map<int, Event>& events, int key) {
  const auto found = events.find(key);
  if (found == events.end()) return;
  communicators_->pipeline.wait(found->second);
  events.erase(found);
}

TensorView Executor::output(const Action& forward) {
  const int stage = forward.stage;
  if (pools_.is_here(stage + 1))
    return model_->stage(stage + 1).stage.input(pools_.of(stage + 1).activations.of(forward.microbatch));
  if (!pools_.of(stage).outputs.has(forward.microbatch)) return {};
  const int buffer = pools_.of(stage).outputs.of(forward.microbatch);
  return model_->stage(stage).outputs[static_cast<std::size_t>(buffer)];
}

int Executor::gradient_buffer(const Action& action) {
  return pools_.of(pools_.end_of_chain(action.stage)).gradients.of(action.microbatch);
}

TensorView Executor::gradient(const Action& action) {
  return model_->stage(pools_.end_of_chain(action.stage)).gradients[static_cast<std::size_t>(gradient_buffer(action))];
}

void Executor::forward(const Action& action) {
  StagePools& pools = pools_.of(action.stage);
  model_->stage(action.stage)
      .stage.forward(view(action.microbatch), pools.activations.of(action.microbatch), output(action), running_.purpose,
                     model_->optimizer().loss_sum());
  pools_.release(action);
  if (running_.purpose == Purpose::evaluation) pools.activations.release(action.microbatch);  // no backward will
}

void Executor::input_gradient(const Action& action, BackwardHalves halves) {
  StagePools& pools = pools_.of(action.stage);
  model_->stage(action.stage)
      .stage.input_gradient(view(action.microbatch), pools.activations.of(action.microbatch),
                            pools.held.of(action.microbatch), gradient(action), halves,
                            1.0F / static_cast<float>(running_.values.tokens), model_->optimizer().loss_sum());
  pools_.release(action);
}

void Executor::weight_gradient(const Action& action) {
  StagePools& pools = pools_.of(action.stage);
  model_->stage(action.stage)
      .stage.weight_gradient(pools.activations.of(action.microbatch), pools.held.of(action.microbatch));
  pools_.release(action);
}

Message Executor::message(const Action& action) {
  RankModel::StageMemory& memory = model_->stage(action.stage);
  const int peer = peer_stage(action);
  Message message{.way = is_send(action.work) ? Message::Way::send : Message::Way::receive,
                  .tensor = {},
                  .peer = coordinate_of(peer),
                  .tag = 0};
  switch (action.work) {
    case Work::send_activation:
      message.tensor = memory.outputs[static_cast<std::size_t>(pools_.of(action.stage).outputs.of(action.microbatch))];
      message.tag = activation_tag(peer);
      return message;
    case Work::receive_activation:
      message.tensor = memory.stage.input(pools_.of(action.stage).activations.of(action.microbatch));
      message.tag = activation_tag(action.stage);
      return message;
    case Work::send_gradient:
      message.tensor = gradient(action);
      message.tag = gradient_tag(peer);
      return message;
    default:
      wait(transfers_.at(action.stage).sent_gradients, gradient_buffer(action));
      message.tensor = gradient(action);
      message.tag = gradient_tag(action.stage);
      return message;
  }
}

Event& Executor::event_of(const Action& action) {
  StageTransfers& own = transfers_.at(action.stage);
  switch (action.work) {
    case Work::send_activation:
      return own.sent_outputs[pools_.of(action.stage).outputs.of(action.microbatch)];
    case Work::receive_activation:
      return own.received_inputs[action.microbatch];
    case Work::send_gradient:
      return transfers_.at(pools_.end_of_chain(action.stage)).sent_gradients[gradient_buffer(action)];
    default:
      return own.received_gradients[action.microbatch];
  }
}

void Executor::transfer(std::size_t begin, std::size_t end) {
  const std::vector<Action>& row = running_.schedule->row(pipeline_rank_);
  for (std::size_t i = begin; i < end; ++i) pools_.take(row[i]);
  std::vector<Message> messages;
  for (std::size_t i = begin; i < end; ++i) messages.push_back(message(row[i]));
  const std::vector<Event> events = communicators_->pipeline.transfer(messages);
  for (std::size_t i = begin; i < end; ++i) event_of(row[i]) = events[i - begin];
  for (std::size_t i = begin; i < end; ++i) pools_.release(row[i]);
}

void Executor::finish_transfers() {
  for (auto& [stage, transfers] : transfers_)
    for (auto* events : {&transfers.received_inputs, &transfers.received_gradients, &transfers.sent_outputs,
                         &transfers.sent_gradients})
      while (!events->empty()) wait(*events, events->begin()->first);
}

// Behind the step's first mark each action has two.
std::size_t Executor::actions_passed() const {
  const std::uint64_t marks = queue_->marks_passed();
  return marks == 0 ? 0 : (marks - 1) / 2;
}

Place Executor::place() const {
  if (!running_.schedule) return {.step = running_.values.update, .name = {}};
  const std::vector<Action>& row = running_.schedule->row(pipeline_rank_);
  const std::size_t passed = actions_passed();
  return {.step = running_.values.update,
          .action = static_cast<std::int32_t>(passed),
          .actions = static_cast<std::int32_t>(row.size()),
          .name = ActionName(passed < row.size() ? row[passed].text() : std::string())};
}

std::string Executor::row() const {
  if (!running_.schedule) return "";
  return "pipeline " + row_with_mark(*running_.schedule, pipeline_rank_, actions_passed());
}

}  // namespace penstock
