// SPDX-License-Identifier: Apache-2.0
// How a life of a run ends: well, or by a failure that all ranks share; what is saved, recorded and told of it. The
// steps are in trainer.cpp.

#include "base/clock.hpp"
#include "base/log.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "device/device.hpp"
#include "plan/memory_text.hpp"
#include "run/restart_advice.hpp"
#include "storage/durable_file.hpp"
#include "train/trainer.hpp"

namespace penstock {

// Warnings that were held back, and did not come again.
void Trainer::warn_of_the_rest() {
  for (const std::string& text : warning_limit_.held_back()) {
    progress_->clear();
    log_warning("{}", text);
  }
}

// What becomes of the record must not change what becomes of the run.
void Trainer::record(LifeEnd end, int exit_code, const std::string& message, std::string_view reason) {
  if (world_->rank() != 0 || !guard_) return;
  try {
    guard_->ensure_mine();
    folder_.record(end, step_, exit_code, message, reason);
    if (end == LifeEnd::failed) folder_.write_report(message + "\n");
  } catch (const FolderLost&) {  // the record belongs to the new holder
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
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

// A weight that is infinite or NaN stays so: no later step could be saved either, however long the losses stay finite.
void Trainer::end_with_lost_state() {
  saver_->finish();
  const std::int64_t step = saver_->tried_step();
  throw CollectiveFailure(
      {1, fmt::format("step {} can never be saved: {}; the run ends here, as no later step could be "
                      "saved either\n{}",
                      step, saver_->why_not(), restart_advice(folder_.checkpoints(), step))});
}

bool Trainer::folder_lost() const { return (guard_ && guard_->lost()) || saver_->lost_folder(); }

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
    if (world_->rank() == 0) folder_.create_evidence();
  });
  Saver::Options options = saving();
  options.folder = folder_.evidence();
  options.keep = 0;
  options.behind = false;
  options.whatever_the_state = true;
  Saver saver(*world_, writers_, setup_.plan.parameters, layouts_, model_->parameters(), options);
  saver.save(queue_, meta());
  const std::string samples =
      fmt::format("samples {} to {} of seed {}", samples_,
                  samples_ + static_cast<std::uint64_t>(config_.batch.global) - 1, config_.run.seed);
  return fmt::format("the step's batch: {}; the state before it: {}", samples,
                     saver.saved_step() == step_ ? (folder_.evidence() / checkpoint_name(step_)).string()
                                                 : "not saved (the log says why)");
}

// Afterwards: where the time of each rank's steps went, beside what was foretold.
void Trainer::tell_steps() const {
  const std::vector<std::string> lines = world_->gather(forecast_.line());
  constexpr std::size_t most_lines = 8;
  for (std::size_t rank = 0; rank < std::min(lines.size(), most_lines); ++rank)
    if (!lines[rank].empty()) log_info("  rank {}: {}", rank, lines[rank]);
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
    log_info("  memory of rank {}: {}", rank, texts[rank]);
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
    throw CollectiveFailure({1, fmt::format("the last step, {}, could not be saved: {}; {} {}", step_,
                                            saver_->why_not(), folder_.checkpoints().string(),
                                            checkpoint_files_in_sight(folder_.checkpoints()).empty()
                                                ? "holds no checkpoint"
                                                : "holds checkpoints of earlier steps only")});
  }
  if (world_->rank() == 0) {
    progress_->clear();
    record_good_end();
    guard_.reset();
  }
  if (done)
    log_info("done: {} steps", step_);
  else
    log_info("stopped {} after step {} of {}; go on with --restart latest", words_of(stopping_, stop_signal_), step_,
             config_.run.steps);
  log_info("  metrics      {}", folder_.metrics().string());
  log_info("  checkpoints  {}", folder_.checkpoints().string());
  if (!config_.capture.steps.empty()) log_info("  captures     {}", folder_.captures().string());
  if (!config_.trace.steps.empty()) log_info("  trace        {}", folder_.trace().string());
  warn_of_the_rest();
  tell_memory();
  tell_steps();
  return done ? exit_done : exit_stopped;
}

}  // namespace penstock
