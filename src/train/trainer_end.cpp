// SPDX-License-Identifier: Apache-2.0
// How a run attempt ends: well, or by a failure that all ranks share; what is saved, recorded and reported then. The
// steps are in trainer.cpp.

#include "base/clock.hpp"
#include "base/log.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "run/restart_advice.hpp"
#include "storage/durable_file.hpp"
#include "train/announce.hpp"
#include "train/trainer.hpp"

namespace penstock {

int Trainer::finish() {
  const RunConfig& config = on_.setup.config();
  const RunFolder& folder = on_.session.folder();
  save_last();
  ensure_last_step_is_saved();
  if (!all_done() && stopping_ == StopReason::none) stopping_ = StopReason::run_stop;
  const int code = all_done() ? exit_done : exit_stopped;
  on_.log.clear_line();
  on_.session.record({.end = all_done() ? AttemptEnd::done : AttemptEnd::stopped,
                      .step = steps_done(),
                      .exit_code = code,
                      .reason = all_done() ? "" : std::string(name_of(stopping_))});
  // The stop file has done its work and must not stop the next attempt.
  if (on_.world.rank() == 0 && stopping_ == StopReason::stop_file) discard(folder.stop());
  on_.session.leave();
  announce_end(config, folder, steps_done(), stopping_, stop_signal_);
  on_.log.warn_of_the_rest();
  announce_memory(on_.world, on_.setup, on_.engine.queue());
  announce_times(on_.world, on_.times.line());
  return code;
}

void Trainer::ensure_last_step_is_saved() {
  if (on_.saver.saved_step() == steps_done()) return;
  if (on_.world.largest(folder_lost() ? 1 : 0) != 0) end_without_folder();
  const std::filesystem::path checkpoints = on_.session.folder().checkpoints();
  throw CollectiveFailure(
      {1, fmt::format("the last step, {}, could not be saved: {}; {} {}", steps_done(), on_.saver.why_not(),
                      checkpoints.string(),
                      checkpoint_files_in_sight(checkpoints).empty() ? "holds no checkpoint"
                                                                     : "holds checkpoints of earlier steps only")});
}

// Called from the loop's exception handler. After a failure that all ranks share they are between two steps, and the
// state is whole. Any other failure ends the job here, while the buffers of posted transfers still exist.
void Trainer::end_with_failure() try {
  try {
    throw;
  } catch (const CollectiveFailure& failure) {
    count_steps_under_way();
    on_.world.set_place({});
    if (may_save_at_failure_ && !on_.saver.refused_state()) save_last();
    on_.log.warn_of_the_rest();
    on_.session.record(
        {.end = AttemptEnd::failed, .step = steps_done(), .exit_code = failure.exit_code(), .message = failure.what()});
    throw;
  }
} catch (const CollectiveFailure&) {
  throw;
} catch (const std::exception& error) {
  on_.world.abort(error.what());
}

// The failure came between two steps, and the second one may already be under way. That step is counted, so that the
// saved state is the one that the device holds.
void Trainer::count_steps_under_way() {
  while (on_.steps.under_way() > 0) {
    const auto start = Clock::now();
    const FinishedStep done = on_.steps.finish();
    if (is_finite(done.result)) on_.log.report(on_.steps.count(done, seconds_since(start)));
  }
}

void Trainer::end_without_folder() {
  may_save_at_failure_ = false;
  on_.session.end_without_folder();
}

// A weight that is infinite or NaN never becomes finite again. So no later step could be saved either, even while
// losses stay finite.
void Trainer::end_with_lost_state() {
  on_.saver.finish();
  const std::int64_t step = on_.saver.tried_step();
  throw CollectiveFailure(
      {1, fmt::format("step {} can never be saved: {}; the run ends here, as no later step could be "
                      "saved either\n{}",
                      step, on_.saver.why_not(), restart_advice(on_.session.folder().checkpoints(), step))});
}

// Saves the state before the step outside the folder of checkpoints: it may contain the cause, so no restart may choose
// it by itself. Returns a sentence for the log.
std::string Trainer::keep_evidence() {
  const RunFolder& folder = on_.session.folder();
  on_.saver.finish();  // one file at a time
  may_save_at_failure_ = false;
  on_.world.together([&] {
    if (on_.world.rank() == 0) folder.create_evidence();
  });
  Saver::Options options = on_.saving;
  options.folder = folder.evidence();
  options.keep = 0;
  options.behind = false;
  options.whatever_the_state = true;
  Saver saver(on_.world, on_.writers, on_.setup.plan.parameters, on_.layouts, on_.engine.model().parameters(), options);
  saver.save(on_.engine.queue(), meta());
  const std::uint64_t first = on_.steps.position().samples;
  const std::string samples =
      fmt::format("samples {} to {} of seed {}", first,
                  first + static_cast<std::uint64_t>(on_.setup.config().batch.global) - 1, on_.setup.config().run.seed);
  return fmt::format("the step's batch: {}; the state before it: {}", samples,
                     saver.saved_step() == steps_done() ? (folder.evidence() / checkpoint_name(steps_done())).string()
                                                        : "not saved (the log says why)");
}

}  // namespace penstock
