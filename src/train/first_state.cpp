// SPDX-License-Identifier: Apache-2.0
#include "train/first_state.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "checkpoint/checkpoint.hpp"
#include "plan/restart_check.hpp"

namespace penstock {

namespace {

void begin_with_weights(World& world, IoThread& io, const RunSetup& setup, Engine& engine) {
  ParameterSet& parameters = engine.model().parameters();
  if (setup.weights)
    load_weights(world, io, *setup.weights, parameters);
  else
    parameters.initialize(static_cast<std::uint64_t>(setup.config().run.seed), engine.queue().threads());
}

// Warns of what this deck changes compared with the checkpoint's. A past step that the checkpoint's deck named, too,
// causes no warning: when the run came to that step, it wrote the file or reported the failure.
void warn_of_changes(const RestartCheck& check, const TrainingPosition& at, const RunConfig& config) {
  if (at.samples > 0)  // or none come again
    for (const std::string& change : check.changes_of_data()) log_warning("{}", change);
  if (const auto change = check.change_of_rate(at.step)) log_warning("{}", *change);
  const auto warn_of_past = [&](const char* key, const std::vector<std::int64_t>& steps) {
    const std::vector<std::int64_t> named = check.steps_before(key);
    const auto past = std::count_if(steps.begin(), steps.end(), [&](std::int64_t step) {
      return step <= at.step && std::find(named.begin(), named.end(), step) == named.end();
    });
    if (past > 0)
      log_warning(
          "{}: {} of its {} steps are not after step {}, where this run attempt begins, and are new in the deck: they "
          "are not written",
          key, past, steps.size(), at.step);
  };
  warn_of_past("trace.steps", config.trace.steps);
  warn_of_past("capture.steps", config.capture.steps);
}

FirstState go_on_from(const std::filesystem::path& checkpoint, World& world, IoThread& io, const RunSession& session,
                      const RunSetup& setup, ParameterSet& parameters) {
  const CheckpointInfo info = load_checkpoint(world, io, checkpoint, setup.plan.parameters, parameters.layout(),
                                              memory_of(parameters), {.verified = session.restarts_from_latest()});
  TrainingPosition at{.step = info.meta.step, .samples = static_cast<std::uint64_t>(info.meta.samples), .tokens = 0};
  std::optional<RestartCheck> check;
  world.together([&] {
    check.emplace(checkpoint, RunRecord{info.meta.deck, info.meta.data}, RunRecord{setup.deck.effective, setup.data});
    check->ensure_same_function();
    check->ensure_same_data();
    session.ensure_steps_are_left(at.step);
  });
  at.tokens = info.meta.samples * check->earlier_sequence().value_or(setup.config().data.sequence);
  log_info("restarting from {}: step {}, {} samples drawn", checkpoint.string(), at.step, at.samples);
  if (!info.meta.has_moments) log_info("  it holds parameters only: AdamW's moments begin at zero");
  if (setup.weights) log_info("  --weights {} is not read: that is for step 0", setup.weights->path.string());
  if (world.rank() == 0) warn_of_changes(*check, at, setup.config());
  return {.position = at, .from_checkpoint = true, .products = info.meta.products};
}

}  // namespace

FirstState bring_first_state(World& world, IoThread& io, RunSession& session, const RunSetup& setup, Engine& engine) {
  FirstState state;
  if (const std::optional<std::filesystem::path> file = session.checkpoint_to_load(io))
    state = go_on_from(*file, world, io, session, setup, engine.model().parameters());
  else
    begin_with_weights(world, io, setup, engine);
  engine.model().optimizer().publish(engine.queue());
  return state;
}

}  // namespace penstock
