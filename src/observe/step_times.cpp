// SPDX-License-Identifier: Apache-2.0
#include "observe/step_times.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "observe/preflight.hpp"
#include "pipeline/part_times.hpp"
#include "pipeline/transfer_times.hpp"

namespace penstock {

StepTimes::StepTimes(const Subject& subject)
    : on_(subject),
      forecast_(subject.plan.schedule, subject.pipeline_rank),
      tracer_({.schedule = &subject.plan.schedule, .mesh = &subject.mesh}, subject.folder, subject.config.trace.steps) {
}

void StepTimes::watch_speeds() {
  World& world = on_.world;
  Queue& queue = on_.engine.queue();
  if (world.size() == 1) return;
  if (ranks_share_cores(world, queue.threads())) {
    log_info("  slow ranks and links are not looked for: ranks share cores here");
    return;
  }
  const TensorView own_idle = on_.engine.model().idle();
  const TensorView idle = own_idle.range(0, -world.largest(-own_idle.elements()));
  links_.emplace(world, queue, on_.engine.groups(), on_.mesh, idle);
  speeds_.emplace(world, *links_, on_.plan, on_.mesh);
  if (!on_.config.run.preflight) return;
  const auto start = Clock::now();
  on_.log.warn(preflight(world, queue, on_.plan, idle, *links_));
  log_info("  preflight took {:.2f} s", seconds_since(start));
}

void StepTimes::see(const StepFacts& facts) {
  compare_with_forecast(facts);
  trace(facts);
  if (!speeds_) return;
  const double busy = share_of(on_.plan.schedule.row(on_.pipeline_rank), facts.spans).busy;
  on_.log.warn(speeds_->add({.whole = facts.seconds, .computing = std::min(busy, facts.seconds - facts.waited)}));
}

void StepTimes::compare_with_forecast(const StepFacts& facts) {
  const bool knew = forecast_.foretold().has_value();
  const auto start = Clock::now();
  forecast_.add(on_.world, facts.spans, [this](double computing_seconds) {
    return measure_transfers(on_.engine.groups(), on_.engine.queue(), on_.engine.model(), computing_seconds);
  });
  if (knew || !forecast_.foretold()) return;
  measuring_seconds_ = seconds_since(start);
  if (on_.world.rank() != 0) return;
  on_.log.clear_line();
  log_info("{}", forecast_.text());
  write_costs();
}

double StepTimes::take_measuring_seconds() { return std::exchange(measuring_seconds_, 0); }

// For `penstock check --costs`, which predicts the step time of other schedules of this deck.
void StepTimes::write_costs() const {
  const ModelPlan& plan = on_.plan;
  try {
    on_.folder.write_costs(part_times_json(
        part_times(plan.parts, part_costs(*plan.model, plan.sequence), forecast_.costs()), times_subject(on_.config)));
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
}

void StepTimes::trace(const StepFacts& facts) {
  if (!tracer_.wants(facts.step)) return;
  tracer_.add(on_.world, facts.step, facts.begin, {facts.spans, *facts.bytes},
              forecast_.foretold() ? forecast_.foretold()->spans : std::vector<std::vector<Span>>());
}

}  // namespace penstock
