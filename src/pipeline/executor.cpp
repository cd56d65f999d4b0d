// SPDX-License-Identifier: Apache-2.0
#include "pipeline/executor.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "base/fault.hpp"

namespace penstock {

namespace {

// Messages between two stages keep their order. Activations and gradients of a stage have different tags, so they are
// never matched with each other. Tags 0 and 1 belong to collectives and to the tied sum.
int activation_tag(int receiving_stage) { return 2 + 2 * receiving_stage; }
int gradient_tag(int receiving_stage) { return 3 + 2 * receiving_stage; }

// Recordings are outside the memory plan: one of 12 layers took 0.6 MiB of an H200 (256 of them 156 MiB, CUDA 13.0).
constexpr std::size_t most_recordings = 64;

}  // namespace

Executor::Executor(World& world, RankModel& model, Communicators& communicators, Queue& queue)
    : world_(&world),
      model_(&model),
      communicators_(&communicators),
      pipeline_(&communicators.group({Axis::pipeline})),
      passes_speak_(communicators.group({Axis::tensor}).size() > 1),
      queue_(&queue),
      flights_{Flight{.marks = Marks(queue), .bytes = {}}, Flight{.marks = Marks(queue), .bytes = {}}},
      launched_(flights_.data()),
      oldest_(flights_.data()) {
  if (!Queue::runs_behind_host()) return;  // what is computed at once is not recorded
  for (std::size_t i = 0, passes = 0; i < model.row().size() && passes < most_recordings; ++i) {
    recordings_.emplace_back(queue);
    passes += is_compute(model.row()[i].action.work) ? 1 : 0;
  }
}

double Executor::evaluate(const RowPlan& row, const StepTokens& tokens, const StepValues& values) {
  ensure(!oldest_->under_way, "evaluate: a step is under way");
  launch(tokens, values, Purpose::evaluation, &row);
  const double loss = finish().loss;
  oldest_->row = nullptr;  // the caller owns it and will free it
  return loss;
}

void Executor::launch(const StepTokens& tokens, const StepValues& values, Purpose purpose, const RowPlan* other_row) {
  const RowPlan& row = other_row ? *other_row : model_->row();
  const bool behind_another = oldest_->under_way;
  Flight& flight = begin_flight(row, values, purpose);
  std::optional<World::HandOver> handing_over;
  if (Queue::runs_behind_host()) handing_over.emplace(*world_, "the device to take more work");
  flight.marks.set();
  load(tokens, behind_another);
  for (std::size_t begin = 0; begin < row.size();) {
    const PlannedAction& planned = row[begin];
    const std::size_t end = row.launch_end(begin);
    if (is_transfer(planned.action.work)) {
      transfer(begin, end);
    } else {
      if (!planted(Fault::missing_wait)) await(planned);
      flight.marks.set();
      const std::uint64_t before = communicators_->bytes_sent();
      const auto watched = model_->context().watched_by(is_watched(planned) ? &model_->optimizer() : nullptr);
      if (begin < recordings_.size() && repeats(planned))
        recordings_[begin].run([this, &planned] { execute(planned); });  // small enough for no memory
      else
        execute(planned);
      flight.bytes[begin] = communicators_->bytes_sent() - before;
      flight.marks.set();
    }
    world_->moved();
    begin = end;
  }
  for (const Event& sent : events_) pipeline_->wait(sent);
  model_->optimizer().bring_result(*queue_);
  flight.marks.set();
}

Executor::Flight& Executor::begin_flight(const RowPlan& row, const StepValues& values, Purpose purpose) {
  Flight& flight = flight_of(values.update);
  ensure(!flight.under_way, "launch: two steps are under way");
  launched_ = &flight;
  if (!oldest_->under_way) oldest_ = &flight;
  flight.row = &row, flight.values = values, flight.purpose = purpose, flight.under_way = true;
  flight.marks.clear();
  flight.bytes.assign(row.size(), 0);
  events_.assign(row.size(), {});
  return flight;
}

StepResult Executor::finish() {
  ensure(oldest_->under_way, "finish: no step is under way");
  Flight& flight = *oldest_;
  flight.marks.wait("the device's work of a step");
  flight.under_way = false;
  finished_ = &flight;
  if (Flight& next = flight_of(flight.values.update + 1); next.under_way) oldest_ = &next;
  return model_->optimizer().result(flight.values.update);
}

void Executor::load(const StepTokens& tokens, bool needs_the_last) {
  const StepValues& values = launched_->values;
  const auto tokens_of_one = static_cast<std::size_t>(model_->shape().tokens());
  for (std::size_t m = 0; m < tokens.microbatches.size(); ++m) {
    const StepTokens::Microbatch& from = tokens.microbatches[m];
    const RankModel::HostInputs to = model_->host_inputs(static_cast<int>(m), values.update);
    std::copy_n(from.tokens, tokens_of_one, to.tokens);
    std::copy_n(from.targets, tokens_of_one, to.targets);
    *to.first_sample = from.first_sample;
  }
  model_->publish_inputs(*queue_, values.update);
  // Every tensor rank of the last stage has the whole loss; one of them contributes it.
  model_->optimizer().begin_step(*queue_, {.number = values.update,
                                           .learning_rate = values.learning_rate,
                                           .loss_tokens = values.tokens,
                                           .brings_loss = model_->shape().tensor_coordinate == 0,
                                           .needs_the_last = needs_the_last});
}

MicrobatchView Executor::view(int microbatch) const {
  return {.microbatch = microbatch,
          .tokens = model_->tokens(microbatch),
          .targets = model_->targets(microbatch),
          .first_sample = model_->first_sample(microbatch)};
}

// Behind the step's first mark each action has two; the last mark is the step's end.
std::vector<Span> Executor::spans() const {
  if (!finished_) return {};
  const std::vector<double> marks = finished_->marks.seconds();
  std::vector<Span> spans;
  for (std::size_t i = 1; i + 1 < marks.size(); i += 2) spans.push_back({marks[i], marks[i + 1]});
  return spans;
}

const std::vector<std::uint64_t>& Executor::bytes() const {
  ensure(finished_, "bytes: no step was finished");
  return finished_->bytes;
}

void Executor::await(const PlannedAction& planned) {
  for (const std::size_t transfer : planned.awaits) pipeline_->wait(std::exchange(events_[transfer], {}));
}

// Values that change from step to step are in device memory (ops::StepInputs). Taps make a pass wait for the host.
bool Executor::repeats(const PlannedAction& planned) const {
  return is_compute(planned.action.work) && launched_->purpose == Purpose::training && !is_watched(planned) &&
         !passes_speak_ && !model_->context().has_taps();
}

// A host that computes at once gains nothing by starting sums earlier.
bool Executor::is_watched(const PlannedAction& planned) const {
  return Queue::runs_behind_host() && model_->optimizer().has_replicas() &&
         (planned.opens_stage || planned.closes_stage);
}

void Executor::execute(const PlannedAction& planned) {
  Optimizer& optimizer = model_->optimizer();
  switch (planned.action.work) {
    case Work::gather_parameters:
      return optimizer.gather_parameters(*queue_);
    case Work::forward:
      return stage_of(planned).forward(view(planned.action.microbatch), planned.at, output(planned), launched_->purpose,
                                       optimizer.loss_sum());
    case Work::input_gradient:
      return input_gradient(planned, BackwardHalves::input_only);
    case Work::weight_gradient:
      return stage_of(planned).weight_gradient(planned.at, planned.accumulate);
    case Work::backward:
      return input_gradient(planned, BackwardHalves::fused);
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

TensorView Executor::output(const PlannedAction& planned) const {
  if (const auto* next = std::get_if<NextInput>(&planned.output))
    return model_->blocks().activations[static_cast<std::size_t>(next->activations)].input();
  if (const auto* sent = std::get_if<OutputBuffer>(&planned.output))
    return model_->stage(planned.action.stage).outputs[static_cast<std::size_t>(sent->buffer)];
  return {};
}

TensorView Executor::gradient(const PlannedAction& planned) const {
  const GradientBuffer& place = planned.gradient.value();
  return model_->stage(place.stage).gradients[static_cast<std::size_t>(place.buffer)];
}

void Executor::input_gradient(const PlannedAction& planned, BackwardHalves halves) {
  stage_of(planned).input_gradient(view(planned.action.microbatch), planned.at, gradient(planned), halves,
                                   planned.accumulate, 1.0F / static_cast<float>(launched_->values.tokens),
                                   model_->optimizer().loss_sum());
}

Message Executor::message(const PlannedAction& planned) const {
  const auto& [work, stage, microbatch, joined] = planned.action;
  const int receiving_stage = is_send(work) ? peer_stage(planned.action) : stage;
  const bool activation = work == Work::send_activation || work == Work::receive_activation;
  const TensorView tensor = work == Work::send_activation      ? output(planned)
                            : work == Work::receive_activation ? stage_of(planned).input(planned.at)
                                                               : gradient(planned);
  return {.way = is_send(work) ? Message::Way::send : Message::Way::receive,
          .tensor = tensor,
          .peer = planned.peer.value(),
          .tag = activation ? activation_tag(receiving_stage) : gradient_tag(receiving_stage)};
}

void Executor::transfer(std::size_t begin, std::size_t end) {
  const RowPlan& row = *launched_->row;
  messages_.clear();
  for (std::size_t i = begin; i < end; ++i) {
    await(row[i]);
    messages_.push_back(message(row[i]));
    launched_->bytes[i] = messages_.back().tensor.bytes();
  }
  pipeline_->transfer(messages_, std::span(events_).subspan(begin, end - begin));
  // They are only handed over, and take no time of the computing lane.
  for (std::size_t mark = 0; mark < 2 * (end - begin); ++mark) launched_->marks.set();
}

std::size_t Executor::actions_passed(Flight& flight) {
  const std::size_t marks = flight.marks.passed();
  return marks == 0 ? 0 : std::min((marks - 1) / 2, flight.row->size());
}

Place Executor::place() const {
  Flight& flight = *oldest_;
  if (!flight.row) return {.step = flight.values.update, .name = {}};
  const RowPlan& row = *flight.row;
  const std::size_t passed = actions_passed(flight);
  return {.step = flight.values.update,
          .action = static_cast<std::int32_t>(passed),
          .actions = static_cast<std::int32_t>(row.size()),
          .name = ActionName(passed < row.size() ? row[passed].action.text() : std::string())};
}

std::string Executor::row() const {
  Flight& flight = *oldest_;
  if (!flight.row) return "";
  return "pipeline " + row_with_mark(flight.row->schedule(), flight.row->rank(), actions_passed(flight));
}

}  // namespace penstock
