// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.hpp"

#include <utility>

#include "base/clock.hpp"
#include "base/fault.hpp"
#include "base/log.hpp"
#include "pipeline/evaluation_schedule.hpp"
#include "pipeline/part_times.hpp"
#include "pipeline/transfer_times.hpp"
#include "plan/taps.hpp"
#include "run/restart_advice.hpp"

namespace penstock {

// ---- The steps of a life. How it begins is in trainer_start.cpp, how it ends in trainer_end.cpp. ----

int Trainer::run() {
  world_->set_place({.place = [this] { return executor_.place(); }, .row = [this] { return executor_.row(); }});
  try {
    const int code = train_or_fail_together();
    world_->set_place({});
    return code;
  } catch (const CollectiveFailure&) {
    throw;
  } catch (const std::exception& error) {
    world_->abort(error.what());  // here, while the buffers of posted transfers still live
  }
}

int Trainer::train_or_fail_together() {
  try {
    return train();
  } catch (const CollectiveFailure& failure) {
    // All ranks stand between two steps: the state is whole.
    settle();
    world_->set_place({});
    if (!guard_lost_ && !has_evidence_ && !saver_->refused_state()) save_last();
    warn_of_the_rest();
    record(LifeEnd::failed, failure.exit_code(), failure.what());
    throw;
  }
}

int Trainer::train() {
  if (step_ == 0 && config_.checkpoint.initial) save();
  // A step that is under way when the run is asked to stop counts.
  while (step_ < agenda_.last_step() && (stopping_ == StopReason::none || !launched_.empty())) {
    const auto start = Clock::now();
    report_evaluated(step());
    stop_check_.step_took(seconds_since(start) - std::exchange(measuring_seconds_, 0));
    saver_->look();
    stopping_ = stop_agreed();
    if (save_due()) save();
    if (!config_.saves_behind_training() && saver_->refused_state()) end_with_lost_state();
  }
  return finish();
}

// The device should never wait for the host: while it is at one step, the host gives it the next.
MetricsRow Trainer::step() {
  const auto start = Clock::now();
  const double waited_before = world_->waited_seconds();
  std::optional<CaptureRecorder> recorder;
  if (agenda_.captures(step_ + 1)) {
    recorder.emplace(setup_.plan, setup_.mesh, world_->rank(), expand_taps(config_.capture.taps, *setup_.plan.model));
    model_->context().set_taps(&*recorder);
  }
  if (launched_.empty()) launch_next();
  if (may_run_ahead()) launch_next();
  StepResult result = executor_.finish();
  const LaunchedStep done = take_oldest();
  const bool skipped = skips_nonfinite(done, result);
  const double seconds = seconds_since(start), waited = world_->waited_seconds() - waited_before;
  MetricsRow row = count(done.values, result, seconds);
  row.skipped = skipped;
  time_step(start);
  const double busy = share_of(setup_.plan.schedule.row(place_.at(Axis::pipeline)), executor_.spans()).busy;
  if (speeds_) warn(speeds_->add({.whole = seconds, .computing = std::min(busy, seconds - waited)}));
  if (recorder) {
    model_->context().set_taps(nullptr);
    write_capture(*recorder, tokens_of(done.batch));
  }
  return row;
}

void Trainer::launch_next() {
  const auto ahead = static_cast<std::int64_t>(launched_.size());
  const std::int64_t update = step_ + ahead + 1;
  const std::int64_t steps = planted(Fault::rate_of_attempt) ? agenda_.last_step() : config_.run.steps;
  LaunchedStep next{.batch = {},
                    .values = {.update = update,
                               .learning_rate = learning_rate(config_.optimizer, update, steps),
                               .tokens = config_.tokens_per_step()}};
  world_->together(
      [&] { next.batch = reader_->batch(samples_ + static_cast<std::uint64_t>(ahead * config_.batch.global)); });
  launched_.push_back(std::move(next));
  executor_.launch(tokens_of(launched_.back().batch), launched_.back().values);
}

// The first steps of a life are timed one by one for the forecast.
bool Trainer::may_run_ahead() const {
  return Queue::runs_behind_host() && stopping_ == StopReason::none && forecast_.foretold().has_value() &&
         agenda_.leads_on(step_ + 1) && !(speeds_ && speeds_->ends_window());
}

Trainer::LaunchedStep Trainer::take_oldest() {
  LaunchedStep oldest = std::move(launched_.front());
  launched_.pop_front();
  return oldest;
}

MetricsRow Trainer::count(const StepValues& values, const StepResult& result, double seconds) {
  step_ = values.update;
  samples_ += static_cast<std::uint64_t>(config_.batch.global);
  tokens_ += config_.tokens_per_step();
  return {.step = step_,
          .tokens = tokens_,
          .loss = result.loss,
          .gradient_norm = result.gradient_norm,
          .learning_rate = values.learning_rate,
          .seconds = seconds,
          .tokens_per_second = static_cast<double>(config_.tokens_per_step()) / seconds,
          .validation_loss = {},
          .skipped = false};
}

// What the step took, for the forecast and for the trace.
void Trainer::time_step(Clock::time_point begin) {
  const std::vector<Span> spans = executor_.spans();
  const bool knew = forecast_.foretold().has_value();
  const auto measuring = Clock::now();
  forecast_.add(*world_, spans, [this](double computing_seconds) {
    return measure_transfers(communicators_, queue_, *model_, computing_seconds);
  });
  if (!knew && forecast_.foretold()) measuring_seconds_ = seconds_since(measuring);
  if (!knew && forecast_.foretold() && world_->rank() == 0) {
    progress_->clear();
    log_info("{}", forecast_.text());
    write_costs();
  }
  if (tracer_->wants(step_))
    tracer_->add(*world_, step_, begin, {spans, executor_.bytes()},
                 forecast_.foretold() ? forecast_.foretold()->spans : std::vector<std::vector<Span>>());
}

// For `penstock check --costs`: what other schedules of this deck would take.
void Trainer::write_costs() const {
  const ModelPlan& plan = setup_.plan;
  try {
    folder_.write_costs(part_times_json(
        part_times(plan.parts, part_costs(*plan.model, plan.sequence), forecast_.costs()), times_subject(config_)));
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
}

// Of warnings that may come step by step; once in a while, and counted.
void Trainer::warn(const std::vector<Warning>& warnings) {
  if (world_->rank() != 0) return;
  for (const Warning& warning : warnings) {
    const std::optional<std::string> text = warning_limit_.pass(warning);
    if (!text) continue;
    if (progress_) progress_->clear();
    log_warning("{}", *text);
  }
}

// A step that was done has its row, whatever becomes of its evaluation: the end of this life saves that step.
void Trainer::report_evaluated(MetricsRow row) {
  try {
    if (agenda_.evaluates(step_)) row.validation_loss = evaluate();
  } catch (const CollectiveFailure&) {
    report(row);
    throw;
  }
  report(row);
}

void Trainer::report(const MetricsRow& row) {
  if (world_->rank() != 0) return;
  metrics_->append(row);
  progress_->show(row);
}

bool Trainer::skips_nonfinite(const LaunchedStep& step, StepResult& result) {
  using Verdict = NonfiniteSteps::Verdict;
  if (is_finite(result)) {
    nonfinite_.passed();
    return false;
  }
  drop_ahead();
  const StepTokens tokens = tokens_of(step.batch);
  const Verdict verdict =
      nonfinite_.judge(step.values.update, result, tokens, [&] { return executor_.train(tokens, step.values); });
  if (verdict == Verdict::stop) {
    const std::string evidence = keep_evidence();
    throw CollectiveFailure(
        {1, fmt::format("{}\n{}\n{}", nonfinite_.why(), evidence,
                        restart_advice(folder_.checkpoints(), step_ - nonfinite_.skipped_in_a_row()))});
  }
  const char* kind = verdict == Verdict::skipped ? "a step is skipped" : "a step is done again";
  warn({Warning{kind, nonfinite_.why()}});
  return verdict == Verdict::skipped;
}

// A step that was launched behind one that changed nothing has changed nothing either: it comes again.
void Trainer::drop_ahead() {
  for (; !launched_.empty(); launched_.pop_front()) executor_.finish();
}

StepTokens Trainer::tokens_of(const StepBatch& batch) const {
  StepTokens tokens;
  for (const Microbatch& m : batch.microbatches)
    tokens.microbatches.push_back({m.first_sample, m.tokens.data(), m.targets.data()});
  return tokens;
}

// Samples 0, 1, ... of the validation file; data rank d takes the d-th contiguous part, in rounds of as many
// microbatches as the training step has room for.
double Trainer::evaluate() {
  if (progress_) progress_->clear();
  log_info("step {}: validating on {} samples", step_, config_.validation.samples);
  std::optional<TokenFile> file;
  world_->together([&] { file.emplace(setup_.validation_file, *setup_.validation_header); });
  const std::int64_t share = config_.validation.samples / config_.mesh.data;
  const std::int64_t tokens_in_all = config_.validation.samples * config_.data.sequence;
  double loss = 0;
  for (std::int64_t done = 0; done < share;) {
    const std::int64_t microbatches = std::min(setup_.plan.microbatches(), (share - done) / config_.batch.micro);
    StepBatch batch;
    world_->together([&] {
      for (std::int64_t m = 0; m < microbatches; ++m)
        batch.microbatches.push_back(read_samples(
            *file, static_cast<std::uint64_t>(place_.at(Axis::data) * share + done + m * config_.batch.micro),
            static_cast<int>(config_.batch.micro), static_cast<int>(config_.data.sequence)));
    });
    const Schedule schedule = evaluation_schedule(setup_.plan.schedule, static_cast<int>(microbatches));
    const RowPlan row = model_->row_of(schedule);
    loss += executor_.evaluate(row, tokens_of(batch), {.update = step_, .learning_rate = 0, .tokens = tokens_in_all});
    done += microbatches * config_.batch.micro;
  }
  return loss;
}

// A state that no step has changed is not saved again: it would only push out an older one.
bool Trainer::save_due() const {
  return agenda_.saves(step_) && step_ - nonfinite_.skipped_in_a_row() > saver_->tried_step();
}

// A run whose folder another life has taken ends here, on all ranks.
StopReason Trainer::stop_agreed() {
  constexpr std::int64_t lost_state = 1 << 19, lost_folder = 1 << 20;  // above all reasons
  constexpr std::int64_t signals = 256;
  const auto reason = static_cast<std::int64_t>(stop_check_.asked());
  const std::int64_t asked = world_->largest(folder_lost()             ? lost_folder
                                             : saver_->refused_state() ? lost_state
                                                                       : reason * signals + stop_check_.signal());
  if (asked == lost_folder) end_without_folder();
  if (asked == lost_state) end_with_lost_state();
  stop_signal_ = static_cast<int>(asked % signals);
  return static_cast<StopReason>(asked / signals);
}

Saver::Options Trainer::saving() {
  return {.folder = folder_.checkpoints(),
          .keep = static_cast<int>(config_.checkpoint.keep),
          .retries = static_cast<int>(config_.checkpoint.retries),
          .behind = config_.saves_behind_training(),
          .ensure_mine =
              [this] {
                if (guard_) guard_->ensure_mine();
              },
          .sync_rows =
              [this] {
                if (metrics_) metrics_->sync();  // a checkpoint must not outlive the rows before it
              },
          .clear_line =
              [this] {
                if (progress_) progress_->clear();
              },
          .took = [this](double seconds) { stop_check_.save_took(seconds); },
          .warn = [this](const Warning& warning) { warn({warning}); }};
}

CheckpointMeta Trainer::meta() const {
  return {.step = step_,
          .samples = static_cast<std::int64_t>(samples_),
          .seed = config_.run.seed,
          .deck = setup_.deck.effective,
          .data = setup_.data,
          .products = choices_for_checkpoint(product_choices_.text)};
}

void Trainer::save() { saver_->save(queue_, meta()); }

void Trainer::write_capture(const CaptureRecorder& recorder, const StepTokens& tokens) {
  saver_->finish();  // one file at a time
  const SaveOutcome outcome = save_capture(*world_, writers_, folder_.captures(), step_, recorder.arrays(),
                                           recorder.local_data(tokens), [this] { guard_->ensure_mine(); });
  if (outcome.ok)
    log_info("captured step {}: {:.1f} MB", step_, static_cast<double>(outcome.bytes) * 1e-6);
  else if (world_->rank() == 0)
    log_warning("the capture of step {} was not written: {}; training goes on", step_, outcome.message);
}

}  // namespace penstock
