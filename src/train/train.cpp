// SPDX-License-Identifier: Apache-2.0
// A run attempt. Its parts are made in this order and destroyed in the reverse one.

#include "train/train.hpp"

#include "base/log.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "comm/collective_end.hpp"
#include "plan/make_plan.hpp"
#include "train/announce.hpp"
#include "train/choose_products.hpp"
#include "train/first_state.hpp"
#include "train/run_parts.hpp"
#include "train/step_data.hpp"
#include "train/trainer.hpp"

namespace penstock {

namespace {

WriterOptions writer_options(const RunConfig& config, const ModelPlan& plan) {
  const auto values = static_cast<std::uint64_t>(total_parameters(plan)) * std::size(states);
  return {.count = static_cast<int>(config.checkpoint.writers),
          .bytes = values * bytes_of(DType::float32),
          .hints = config.mpi_io_hints()};
}

std::vector<ParameterLayout> layouts_of_all(const ModelPlan& plan, const Mesh& mesh) {
  std::vector<ParameterLayout> layouts;
  for (int rank = 0; rank < mesh.size(); ++rank) layouts.push_back(parameter_layout(plan, MeshPlace(mesh, rank)));
  return layouts;
}

Saver::Options saver_options(const RunConfig& config, const RunSession& session, StopCheck& stop_check, StepLog& log) {
  return {.folder = session.folder().checkpoints(),
          .keep = static_cast<int>(config.checkpoint.keep),
          .retries = static_cast<int>(config.checkpoint.retries),
          .behind = config.saves_behind_training(),
          .ensure_mine = [&session] { session.ensure_mine(); },
          .sync_rows = [&log] { log.sync_rows(); },  // a checkpoint must not outlive the rows before it
          .clear_line = [&log] { log.clear_line(); },
          .took = [&stop_check](double seconds) { stop_check.save_took(seconds); },
          .warn = [&log](const Warning& warning) { log.warn({warning}); }};
}

// Loads the state and opens the samples for the first step. Repeats both if another attempt has saved meanwhile.
void bring_state_and_samples(const RunParts& run) {
  const std::vector<std::int64_t>& captures = run.setup.config().capture.steps;
  for (bool first = true; first || run.session.others_saved_meanwhile(run.steps.position().step, captures);
       first = false) {
    const FirstState state = bring_first_state(run.world, run.io, run.session, run.setup, run.engine);
    if (run.products.text.empty()) run.products.text = state.products;  // for a later run attempt that needs them
    if (state.from_checkpoint) run.saver.take_as_saved(state.position.step);
    if (first) stage_data(run.world, run.setup);
    run.steps.begin(state.position, open_reader(run.world, run.setup, state.position.samples));
  }
}

// Checkpoints of later steps do not belong to the loss curve that continues here. Damaged ones among them must not
// count as the newest, which are kept.
void write_first_files(const RunParts& run) {
  if (run.world.rank() != 0) return;
  const RunFolder& folder = run.session.folder();
  const std::int64_t step = run.steps.position().step;
  for (const std::filesystem::path& aside : set_aside_later(folder.checkpoints(), step))
    log_info("{} is beyond step {}: moved to {}", aside.filename().string(), step, aside.parent_path().string());
  folder.write_deck(run.setup.deck.effective);
  // An attempt that did not measure does not replace existing choices.
  const bool measured = run.setup.config().device.measure;
  if (!run.products.text.empty() && (measured || !std::filesystem::exists(folder.product_choices())))
    folder.write_product_choices(run.products.text);
  // Earlier attempts may have used samples of another length.
  if (const auto tokens = run.log.begin(run.session, step, run.agenda.last_step())) run.steps.correct_tokens(*tokens);
}

// From here on the folder changes, and it records how the attempt ends, whatever the reason.
void begin_attempt(const RunParts& run) {
  const std::int64_t step = run.steps.position().step;
  run.session.begin(step);
  try {
    run.world.together([&] { write_first_files(run); });
    run.session.keep_failures();
    list_ranks(run.world, run.session.folder());
    introduce(run.world, run.setup, run.engine.queue(), run.products);
    run.times.watch_speeds();
  } catch (const CollectiveFailure& failure) {
    run.session.end_before_first_step(step, failure);
    throw;
  } catch (const std::exception& error) {
    run.world.abort(error.what());  // messages may be on their way
  }
}

}  // namespace

int train(const TrainRequest& request) {
  StopRequest stop;  // first: MPI and all threads inherit its blocked signals
  World world;
  start_log(world.rank(), world.size());
  try {
    RunSetup setup = set_up_run(world, request);
    const RunConfig& config = setup.config();
    const MeshPlace place = MeshPlace(setup.mesh, world.rank());
    const StepAgenda agenda(config, setup.validation_header.has_value());

    IoThread io;
    RunSession session(world, setup.run, request.restart, agenda);
    StopCheck stop_check(stop, world.rank() == 0 ? stop_sources(config, session.folder(), setup.plan) : StopSources{});

    Engine engine(world, setup.plan, setup.mesh, place, {.threads = setup.threads, .records = config.device.graphs});
    Writers writers(world, io, writer_options(config, setup.plan));
    ProductChoices products = choose_products(world, io, session, setup, engine.queue());
    engine.take_memory();
    world.set_deadline(config.watchdog.seconds);

    StepLog log(world.rank());
    StepTimes times({world, config, setup.plan, setup.mesh, place.at(Axis::pipeline), engine, session.folder(), log});
    const std::vector<ParameterLayout> layouts = layouts_of_all(setup.plan, setup.mesh);
    const Saver::Options saving = saver_options(config, session, stop_check, log);
    Saver saver(world, writers, setup.plan.parameters, layouts, engine.model().parameters(), saving);
    StepsUnderWay steps(world, config, agenda.last_step(), engine.executor());

    const RunParts run{world,    setup, agenda, io,      session, stop_check, engine, writers,
                       products, log,   times,  layouts, saving,  saver,      steps};
    bring_state_and_samples(run);
    begin_attempt(run);
    const int code = Trainer(run).run();
    world.barrier();
    return world.rank() == 0 ? code : 0;
  } catch (...) {
    return exit_code_of_failure(world);
  }
}

}  // namespace penstock
