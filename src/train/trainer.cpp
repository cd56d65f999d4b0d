// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.hpp"

#include "base/log.hpp"
#include "run/restart_advice.hpp"
#include "train/evaluation.hpp"
#include "train/step_data.hpp"

namespace penstock {

namespace {

// While it lives, reports of a long wait name the place in the row where this rank is.
class PlaceScope {
 public:
  PlaceScope(World& world, const Executor& executor) : world_(&world) {
    world.set_place({.place = [&executor] { return executor.place(); }, .row = [&executor] { return executor.row(); }});
  }
  ~PlaceScope() { world_->set_place({}); }
  PlaceScope(const PlaceScope&) = delete;
  PlaceScope& operator=(const PlaceScope&) = delete;

 private:
  World* world_;
};

}  // namespace

// ---- The steps. How an attempt ends is in trainer_end.cpp. ----

Trainer::Trainer(const RunParts& parts)
    : on_(parts),
      nonfinite_({parts.world, parts.engine.model(), parts.engine.queue(), parts.setup.plan},
                 parts.setup.config().watchdog.nonfinite) {}

int Trainer::run() {
  const PlaceScope place(on_.world, on_.engine.executor());
  try {
    if (steps_done() == 0 && on_.setup.config().checkpoint.initial) save();
    while (goes_on()) {
      const StepBegin begun{.time = Clock::now(), .waited = on_.world.waited_seconds(), .capture = begin_capture()};
      while (may_launch()) {
        const LaunchedStep& next = on_.steps.read_next();
        on_.engine.executor().launch(tokens_of(next.batch), next.values);
      }
      report_evaluated(finish_step(begun));
      on_.stop_check.step_took(seconds_since(begun.time) - on_.times.take_measuring_seconds());
      on_.saver.look();
      agree_on_stop();
      if (save_due()) save();
      if (!on_.saving.behind && on_.saver.refused_state()) end_with_lost_state();
    }
    return finish();
  } catch (...) {
    end_with_failure();
  }
}

// A step that is already under way when a stop is requested still counts.
bool Trainer::goes_on() const {
  return steps_done() < on_.agenda.last_step() && (stopping_ == StopReason::none || on_.steps.under_way() > 0);
}

std::unique_ptr<StepCapture> Trainer::begin_capture() {
  if (!on_.agenda.captures(steps_done() + 1)) return nullptr;
  return std::make_unique<StepCapture>(on_.world, on_.setup.plan, on_.setup.mesh, on_.setup.config().capture.taps,
                                       on_.engine.model().context());
}

// The device should never wait for the host, so the host launches the next step while one is running.
bool Trainer::may_launch() const {
  if (on_.steps.under_way() == 0) return true;
  return on_.steps.under_way() == 1 && Queue::runs_behind_host() && stopping_ == StopReason::none &&
         on_.agenda.leads_on(steps_done() + 1) && !on_.times.wants_a_pause();
}

MetricsRow Trainer::finish_step(const StepBegin& begun) {
  FinishedStep done = on_.steps.finish();
  const bool skipped = skips_nonfinite(done);
  const double seconds = seconds_since(begun.time), waited = on_.world.waited_seconds() - begun.waited;
  MetricsRow row = on_.steps.count(done, seconds);
  row.skipped = skipped;
  const Executor& executor = on_.engine.executor();
  on_.times.see({.step = row.step,
                 .begin = begun.time,
                 .seconds = seconds,
                 .waited = waited,
                 .spans = executor.spans(),
                 .bytes = &executor.bytes()});
  if (begun.capture) {
    on_.saver.finish();  // one file at a time
    begun.capture->write(on_.writers, on_.session, row.step, tokens_of(done.batch));
  }
  return row;
}

bool Trainer::skips_nonfinite(FinishedStep& step) {
  using Verdict = NonfiniteSteps::Verdict;
  if (is_finite(step.result)) {
    nonfinite_.passed();
    return false;
  }
  on_.steps.drop();
  const StepTokens tokens = tokens_of(step.batch);
  const Verdict verdict = nonfinite_.judge(step.values.update, step.result, tokens,
                                           [&] { return on_.engine.executor().train(tokens, step.values); });
  if (verdict == Verdict::stop) {
    const std::string evidence = keep_evidence();
    throw CollectiveFailure({1, fmt::format("{}\n{}\n{}", nonfinite_.why(), evidence,
                                            restart_advice(on_.session.folder().checkpoints(),
                                                           steps_done() - nonfinite_.skipped_in_a_row()))});
  }
  const char* kind = verdict == Verdict::skipped ? "a step is skipped" : "a step is done again";
  on_.log.warn({Warning{kind, nonfinite_.why()}});
  return verdict == Verdict::skipped;
}

// A finished step gets its row even if its evaluation fails, because this attempt still saves that step at its end.
void Trainer::report_evaluated(MetricsRow row) {
  try {
    if (on_.agenda.evaluates(row.step)) {
      on_.log.clear_line();
      log_info("step {}: validating on {} samples", row.step, on_.setup.config().validation.samples);
      row.validation_loss = evaluate(on_.world, on_.setup, on_.engine, row.step);
    }
  } catch (const CollectiveFailure&) {
    on_.log.report(row);
    throw;
  }
  on_.log.report(row);
}

// If another attempt has taken the run folder, this one ends here, on all ranks.
void Trainer::agree_on_stop() {
  constexpr std::int64_t lost_state = 1 << 19, lost_folder = 1 << 20;  // above all reasons
  constexpr std::int64_t signals = 256;
  const auto reason = static_cast<std::int64_t>(on_.stop_check.asked());
  const std::int64_t asked =
      on_.world.largest(folder_lost()               ? lost_folder
                        : on_.saver.refused_state() ? lost_state
                                                    : reason * signals + on_.stop_check.signal());
  if (asked == lost_folder) end_without_folder();
  if (asked == lost_state) end_with_lost_state();
  stop_signal_ = static_cast<int>(asked % signals);
  stopping_ = static_cast<StopReason>(asked / signals);
}

// A state that no step has changed is not saved again: the copy would only displace an older checkpoint.
bool Trainer::save_due() const {
  return on_.agenda.saves(steps_done()) && steps_done() - nonfinite_.skipped_in_a_row() > on_.saver.tried_step();
}

CheckpointMeta Trainer::meta() const {
  return {.step = steps_done(),
          .samples = static_cast<std::int64_t>(on_.steps.position().samples),
          .seed = on_.setup.config().run.seed,
          .deck = on_.setup.deck.effective,
          .data = on_.setup.data,
          .products = choices_for_checkpoint(on_.products.text)};
}

void Trainer::save() { on_.saver.save(on_.engine.queue(), meta()); }

// Finishes the save in flight, and saves the last step if that was not done.
void Trainer::save_last() {
  on_.saver.finish();
  if (on_.saver.saved_step() == steps_done() || on_.saver.tried_step() == steps_done()) return;
  save();
  on_.saver.finish();
}

}  // namespace penstock
