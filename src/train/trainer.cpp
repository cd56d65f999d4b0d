#include "train/trainer.hpp"

#include <utility>

#include "base/log.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/durable_file.hpp"
#include "device/device.hpp"
#include "pipeline/evaluation_schedule.hpp"
#include "pipeline/hop.hpp"
#include "pipeline/part_times.hpp"
#include "train/memory_text.hpp"
#include "train/restart_advice.hpp"
#include "train/taps.hpp"

namespace penstock {

namespace {

using Clock = StepTracer::Clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

// ---- The steps of a life, and its end. How it begins is in trainer_start.cpp. ----

int Trainer::run() {
  world_->set_place({.place = [this] { return executor_.place(); }, .row = [this] { return executor_.row(); }});
  try {
    const int code = train();
    world_->set_place({});
    return code;
  } catch (const CollectiveFailure& failure) {
    // All ranks stand between two steps: the state is whole.
    settle();
    world_->set_place({});
    if (!guard_lost_ && !has_evidence_) save_last();
    record(LifeEnd::failed, failure.exit_code(), failure.what());
    throw;
  } catch (const std::exception& error) {
    world_->abort(error.what());  // here, while the buffers of posted transfers still live
  }
}

// What becomes of the record must not change what becomes of the run.
void Trainer::record(LifeEnd end, int exit_code, const std::string& message, std::string_view reason) {
  if (world_->rank() != 0 || !guard_ || !guard_->still_mine()) return;
  try {
    folder_.record(end, step_, exit_code, message, reason);
    if (end == LifeEnd::failed) folder_.write_report(message + "\n");
  } catch (const std::exception& error) {
    spdlog::warn("{}", error.what());
  }
}

int Trainer::train() {
  if (step_ == 0 && config_.checkpoint.initial) save();
  // A step that is under way when the run is asked to stop counts.
  while (step_ < last_step() && (stopping_ == StopReason::none || !launched_.empty())) {
    const auto start = Clock::now();
    report_evaluated(step());
    stop_check_.step_took(seconds_since(start) - std::exchange(measuring_seconds_, 0));
    saver_->look();
    stopping_ = stop_agreed();
    if (save_due()) save();
  }
  return finish();
}

std::int64_t Trainer::last_step() const {
  const bool stops = config_.run.stop > 0 && config_.run.stop < config_.run.steps;
  return stops ? config_.run.stop : config_.run.steps;
}

// The device should never wait for the host: while it is at one step, the host gives it the next.
MetricsRow Trainer::step() {
  const auto start = Clock::now();
  const double waited_before = world_->waited_seconds();
  std::optional<CaptureRecorder> recorder;
  if (capture_due(step_ + 1)) {
    recorder.emplace(setup_.plan, setup_.mesh, world_->rank(), expand_taps(config_.capture.taps, config_.model.layers));
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
  const double busy = share_of(setup_.plan.schedule.row(place_.pipeline), executor_.spans()).busy;
  if (speeds_) tell_slow(speeds_->add({.whole = seconds, .computing = std::min(busy, seconds - waited)}));
  if (recorder) {
    model_->context().set_taps(nullptr);
    write_capture(*recorder, tokens_of(done.batch));
  }
  return row;
}

void Trainer::launch_next() {
  const auto ahead = static_cast<std::int64_t>(launched_.size());
  const std::int64_t update = step_ + ahead + 1;
  LaunchedStep next{.batch = {},
                    .values = {.update = update,
                               .learning_rate = learning_rate(config_.optimizer, update, config_.run.steps),
                               .tokens = config_.tokens_per_step()}};
  world_->together(
      [&] { next.batch = reader_->batch(samples_ + static_cast<std::uint64_t>(ahead * config_.batch.global)); });
  launched_.push_back(std::move(next));
  executor_.launch(tokens_of(launched_.back().batch), launched_.back().values);
}

// The first steps of a life are timed one by one for the forecast.
bool Trainer::may_run_ahead() const {
  const std::int64_t under_way = step_ + 1;
  return Queue::runs_behind_host() && stopping_ == StopReason::none && under_way < last_step() &&
         forecast_.foretold().has_value() && !save_falls_on(under_way) && !evaluation_due(under_way) &&
         !capture_due(under_way) && !capture_due(under_way + 1) && !(speeds_ && speeds_->ends_window());
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
void Trainer::time_step(StepTracer::Clock::time_point begin) {
  const std::vector<Span> spans = executor_.spans();
  const bool knew = forecast_.foretold().has_value();
  const auto measuring = Clock::now();
  forecast_.add(*world_, spans, [this](double computing_seconds) {
    return measure_hop(communicators_, queue_, *model_, computing_seconds);
  });
  if (!knew && forecast_.foretold()) measuring_seconds_ = seconds_since(measuring);
  if (!knew && forecast_.foretold() && world_->rank() == 0) {
    progress_->clear();
    spdlog::info("{}", forecast_.text());
    write_costs();
  }
  if (tracer_->wants(step_))
    tracer_->add(*world_, step_, begin, spans,
                 forecast_.foretold() ? forecast_.foretold()->spans : std::vector<std::vector<Span>>());
}

// For `penstock check --costs`: what other schedules of this deck would take.
void Trainer::write_costs() const {
  const ModelPlan& plan = setup_.plan;
  try {
    folder_.write_costs(part_times_json(
        part_times(plan.parts, part_costs(plan.config, plan.sequence), forecast_.costs()), times_subject(config_)));
  } catch (const std::exception& error) {
    spdlog::warn("{}", error.what());
  }
}

// Afterwards: where the time of each rank's steps went, beside what was foretold.
void Trainer::tell_steps() const {
  const std::vector<std::string> lines = world_->gather(forecast_.line());
  constexpr std::size_t most_lines = 8;
  for (std::size_t rank = 0; rank < std::min(lines.size(), most_lines); ++rank)
    if (!lines[rank].empty()) spdlog::info("  rank {}: {}", rank, lines[rank]);
}

void Trainer::tell_slow(const std::vector<std::string>& lines) {
  if (world_->rank() != 0) return;
  for (const std::string& line : lines) {
    progress_->clear();
    spdlog::warn("{}", line);
  }
}

// A step that was done has its row, whatever becomes of its evaluation: the end of this life saves that step.
void Trainer::report_evaluated(MetricsRow row) {
  try {
    if (evaluation_due(step_)) row.validation_loss = evaluate();
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
  if (world_->rank() == 0) {
    progress_->clear();
    spdlog::warn("{}", nonfinite_.why());
  }
  return verdict == Verdict::skipped;
}

// A step that was launched behind one that changed nothing has changed nothing either: it comes again.
void Trainer::drop_ahead() {
  for (; !launched_.empty(); launched_.pop_front()) executor_.finish();
}

// A failure has come between two steps, of which the second may be under way: it counts, so that what is saved is what
// the device holds.
void Trainer::settle() {
  while (!launched_.empty()) {
    const auto start = Clock::now();
    const StepResult result = executor_.finish();
    const LaunchedStep done = take_oldest();
    if (is_finite(result)) report(count(done.values, result, seconds_since(start)));
  }
}

// The state before the step, apart from the checkpoints: what is wrong may be in it, and no restart may take it by
// itself. What it says of itself.
std::string Trainer::keep_evidence() {
  saver_->finish();  // one file at a time
  has_evidence_ = true;
  world_->together([this] {
    if (world_->rank() == 0) std::filesystem::create_directories(folder_.evidence());
  });
  Saver::Options options = saving();
  options.folder = folder_.evidence();
  options.keep = 0;
  options.behind = false;
  Saver saver(*world_, writers_, setup_.plan.parameters, layouts_, model_->parameters(), options);
  saver.save(queue_, meta());
  const std::string samples =
      fmt::format("samples {} to {} of seed {}", samples_,
                  samples_ + static_cast<std::uint64_t>(config_.batch.global) - 1, config_.run.seed);
  return fmt::format("the step's batch: {}; the state before it: {}", samples,
                     saver.saved_step() == step_ ? (folder_.evidence() / checkpoint_name(step_)).string()
                                                 : "not saved (the log says why)");
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
  spdlog::info("step {}: validating on {} samples", step_, config_.validation.samples);
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
        batch.microbatches.push_back(
            read_samples(*file, static_cast<std::uint64_t>(place_.data * share + done + m * config_.batch.micro),
                         static_cast<int>(config_.batch.micro), static_cast<int>(config_.data.sequence)));
    });
    const Schedule schedule = evaluation_schedule(setup_.plan.schedule, static_cast<int>(microbatches));
    const RowPlan row = model_->row_of(schedule);
    loss += executor_.evaluate(row, tokens_of(batch), {.update = step_, .learning_rate = 0, .tokens = tokens_in_all});
    done += microbatches * config_.batch.micro;
  }
  return loss;
}

bool Trainer::evaluation_due(std::int64_t step) const {
  if (!setup_.validation_header) return false;
  return step == last_step() || (config_.validation.every > 0 && step % config_.validation.every == 0);
}

bool Trainer::capture_due(std::int64_t step) const {
  const std::vector<std::int64_t>& steps = config_.capture.steps;
  return std::find(steps.begin(), steps.end(), step) != steps.end();
}

bool Trainer::save_falls_on(std::int64_t step) const {
  return config_.checkpoint.every > 0 && step % config_.checkpoint.every == 0;
}

// A state that no step has changed is not saved again: it would only push out an older one.
bool Trainer::save_due() const {
  return save_falls_on(step_) && step_ - nonfinite_.skipped_in_a_row() > saver_->tried_step();
}

// A run whose folder another life has taken ends here, on all ranks.
StopReason Trainer::stop_agreed() {
  constexpr std::int64_t lost_folder = 1 << 20;  // above all reasons
  const std::int64_t asked =
      world_->largest(folder_lost() ? lost_folder : static_cast<std::int64_t>(stop_check_.asked()));
  if (asked == lost_folder) end_without_folder();
  return static_cast<StopReason>(asked);
}

void Trainer::end_without_folder() {
  guard_lost_ = true;
  world_->together([this] {
    if (guard_) guard_->ensure_mine();
  });
  throw CollectiveFailure({1, fmt::format("{}: its guard could not be read for a while; this run has ended, and "
                                          "--restart latest goes on",
                                          folder_.path().string())});
}

bool Trainer::folder_lost() const { return (guard_ && guard_->lost()) || saver_->lost_folder(); }

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
          .took = [this](double seconds) { stop_check_.save_took(seconds); }};
}

CheckpointMeta Trainer::meta() const {
  return {.step = step_,
          .samples = static_cast<std::int64_t>(samples_),
          .seed = config_.run.seed,
          .deck = setup_.deck.effective};
}

void Trainer::save() { saver_->save(queue_, meta()); }

void Trainer::write_capture(const CaptureRecorder& recorder, const StepTokens& tokens) {
  saver_->finish();  // one file at a time
  const SaveOutcome outcome = save_capture(*world_, writers_, folder_.captures(), step_, recorder.arrays(),
                                           recorder.local_data(tokens), [this] { guard_->ensure_mine(); });
  if (outcome.ok)
    spdlog::info("captured step {}: {:.1f} MB", step_, static_cast<double>(outcome.bytes) * 1e-6);
  else if (world_->rank() == 0)
    spdlog::warn("the capture of step {} was not written: {}; training goes on", step_, outcome.message);
}

// The save in flight, and one of the last step where there is none.
void Trainer::save_last() {
  saver_->finish();
  if (saver_->saved_step() == step_ || saver_->tried_step() == step_) return;
  save();
  saver_->finish();
}

// Afterwards: what each rank held, beside what the plan foretold.
void Trainer::tell_memory() const {
  const std::size_t planned = plan_memory(setup_.plan, place_, queue_.threads()).total();
  const std::size_t staging = staging_bytes(setup_.plan, place_, config_.saves_behind_training());
  const std::vector<std::string> texts = world_->gather(
      fmt::format("planned {}{}, {}", bytes_text(planned),
                  staging > 0 ? fmt::format(" and {} of staging", bytes_text(staging)) : "", memory_in_use_text()));
  constexpr std::size_t most_lines = 8;
  for (std::size_t rank = 0; rank < std::min(texts.size(), most_lines); ++rank)
    spdlog::info("  memory of rank {}: {}", rank, texts[rank]);
}

// The file has been heeded, and must not stop the next life, too.
void Trainer::record_good_end() {
  const bool done = step_ >= config_.run.steps;
  if (!done && stopping_ == StopReason::none) stopping_ = StopReason::run_stop;
  record(done ? LifeEnd::done : LifeEnd::stopped, done ? exit_done : exit_stopped, "", done ? "" : name_of(stopping_));
  if (stopping_ == StopReason::stop_file) discard(folder_.stop());
}

int Trainer::finish() {
  save_last();
  const bool done = step_ >= config_.run.steps;
  if (saver_->saved_step() != step_) {
    if (world_->largest(folder_lost() ? 1 : 0) != 0) end_without_folder();
    throw CollectiveFailure(
        {1, fmt::format("the last step, {}, could not be saved; {} {}", step_, folder_.checkpoints().string(),
                        checkpoint_files(folder_.checkpoints()).empty() ? "holds no checkpoint"
                                                                        : "holds checkpoints of earlier steps only")});
  }
  if (world_->rank() == 0) {
    progress_->clear();
    record_good_end();
    guard_.reset();
  }
  if (done)
    spdlog::info("done: {} steps", step_);
  else
    spdlog::info("stopped {} after step {} of {}; go on with --restart latest", words_of(stopping_), step_,
                 config_.run.steps);
  spdlog::info("  metrics      {}", folder_.metrics().string());
  spdlog::info("  checkpoints  {}", folder_.checkpoints().string());
  if (!config_.capture.steps.empty()) spdlog::info("  captures     {}", folder_.captures().string());
  if (!config_.trace.steps.empty()) spdlog::info("  trace        {}", folder_.trace().string());
  tell_memory();
  tell_steps();
  return done ? exit_done : exit_stopped;
}

}  // namespace penstock
