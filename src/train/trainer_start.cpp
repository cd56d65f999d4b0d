// SPDX-License-Identifier: Apache-2.0
// How a life of a run begins: the folder, the choices, the memory, the state, and what is told of it. The steps are in
// trainer.cpp.

#include <unistd.h>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/program_version.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "device/device.hpp"
#include "observe/preflight.hpp"
#include "ops/linear_choices.hpp"
#include "plan/make_plan.hpp"
#include "plan/memory_text.hpp"
#include "plan/restart_check.hpp"
#include "run/data_stage.hpp"
#include "run/failure_record.hpp"
#include "run/metrics_rows.hpp"
#include "storage/durable_file.hpp"
#include "storage/owner.hpp"
#include "train/trainer.hpp"

namespace penstock {

namespace {

// The device is waited for as other ranks are: under the deadline, and with a report.
HostWait wait_of(World& world) {
  return [&world](const std::function<bool()>& done, std::string_view what,
                  const std::function<std::uint64_t()>& progress) { world.wait_until(done, what, progress); };
}

NonfiniteSteps::Policy nonfinite_policy(const RunConfig& config) {
  return config.watchdog.nonfinite == "skip" ? NonfiniteSteps::Policy::skip : NonfiniteSteps::Policy::stop;
}

WriterOptions writer_options(const RunConfig& config, const ModelPlan& plan) {
  const auto values = static_cast<std::uint64_t>(total_parameters(plan)) * std::size(states);
  return {.count = static_cast<int>(config.checkpoint.writers),
          .bytes = values * bytes_of(DType::float32),
          .hints = config.mpi_io_hints()};
}

// By the files' names; -1 where there is none.
std::int64_t newest_step(const std::filesystem::path& checkpoints) {
  const std::vector<CheckpointFile> files = checkpoint_files(checkpoints);
  return files.empty() ? -1 : files.front().step;
}

std::vector<ParameterLayout> layouts_of_all(const ModelPlan& plan, const Mesh& mesh) {
  std::vector<ParameterLayout> layouts;
  for (int rank = 0; rank < mesh.size(); ++rank) layouts.push_back(parameter_layout(plan, MeshPlace(mesh, rank)));
  return layouts;
}

}  // namespace

Trainer::Trainer(World& world, StopRequest& stop, RunSetup setup, const std::optional<std::string>& restart)
    : world_(&world),
      setup_(std::move(setup)),
      config_(setup_.deck.config),
      agenda_(config_, setup_.validation_header.has_value()),
      place_(setup_.mesh, world.rank()),
      folder_(setup_.run),
      guard_(guard_run_folder(restart)),
      stop_check_(stop, world.rank() == 0 ? stop_sources(config_, folder_, setup_.plan) : StopSources{}),
      queue_({.threads = setup_.threads, .wait = wait_of(world), .records = config_.device.graphs}),
      communicators_(communicators_of(setup_.plan, world, queue_, setup_.mesh)),
      writers_(world, io_, writer_options(config_, setup_.plan)),
      product_choices_(choose_products(restart)),
      arena_(world.make_together([this] { return Arena(plan_memory(setup_.plan, place_, queue_.threads()).total()); })),
      model_(world.make_together([this] {
        return std::make_unique<RankModel>(setup_.plan, place_, queue_.threads(), &queue_, &communicators_, arena_);
      })),
      executor_(world, *model_, communicators_, queue_),
      layouts_(layouts_of_all(setup_.plan, setup_.mesh)),
      forecast_(setup_.plan.schedule, place_.at(Axis::pipeline)),
      nonfinite_({world, *model_, queue_, setup_.plan}, nonfinite_policy(config_)) {
  world.together([this] { prepare_operations(queue_, setup_.plan, place_); });  // now: nothing is made inside a step
  tracer_.emplace(TraceSubject{.schedule = &setup_.plan.schedule, .mesh = &setup_.mesh}, folder_, config_.trace.steps);
  world.set_deadline(config_.watchdog.seconds);
  saver_.emplace(world, writers_, setup_.plan.parameters, layouts_, model_->parameters(), saving());
  start_state(restart);
  stage_data();
  open_reader();
  while (others_saved_meanwhile(restart)) {
    start_state(restart);
    open_reader();
  }
  begin_life(restart);
}

// How products are made is decided once in a run, by rank 0 for all: another choice would change bits. It comes before
// the arena, as measuring needs the device's memory for a while.
ProductChoices Trainer::choose_products(const std::optional<std::string>& restart) {
  if (!config_.device.measure) return {};
  ProductChoices choices;
  world_->together([&] {
    if (world_->rank() == 0) choices = known_or_measured_choices(restart);
  });
  choices.text = world_->broadcast(choices.text);
  choices.sources = world_->broadcast(choices.sources);
  world_->together([&] {
    try {
      ops::use_linear_choices(queue_, choices.text);
    } catch (const InputError& error) {
      throw_input_error("{} (the choices of products are {})", error.what(), choices.sources);
    }
  });
  return choices;
}

ProductChoices Trainer::known_or_measured_choices(const std::optional<std::string>& restart) {
  const std::vector<ops::LinearShape> shapes = linear_shapes(setup_.plan);
  const ops::LinearChoiceNames names = ops::linear_choice_names(shapes);
  ProductCache cache(users_cache_folder(), fmt::format("penstock {}\t{}", program_version(), names.origin));
  const std::string in_folder = folder_.read_product_choices();
  try {
    return find_product_choices(
        names, {.folder = in_folder,
                .checkpoint = [&] { return choices_of_checkpoint(restart); },
                .cache = &cache,
                .measure = [&](const auto& known) { return ops::measure_linear_choices(queue_, shapes, known); },
                .check = [&](const auto& text) { return ops::measure_linear_choices(queue_, {}, text); }});
  } catch (const InputError& error) {
    throw_input_error("{}: {}", folder_.product_choices().string(), error.what());
  }
}

// Of the checkpoint that the run goes on from, by its attribute. What is wrong with the file is found when it is
// loaded. Where it has no such attribute, as those of earlier versions: of the run folder that it lies in.
std::string Trainer::choices_of_checkpoint(const std::optional<std::string>& restart) {
  std::vector<std::filesystem::path> files;
  if (restart == "latest")
    for (const CheckpointFile& file : checkpoint_files(folder_.checkpoints())) files.push_back(file.path);
  else if (restart)
    files.emplace_back(*restart);
  for (const std::filesystem::path& file : files) try {
      const auto look = [file](Progress&) { return info_of(ArrayReader(file, {checkpoint_format})).meta.products; };
      const std::string text =
          run_reading(io_, file, wait_under(*world_, "reading the choices of products in " + file.string()), look);
      return text.empty() ? RunFolder::of_checkpoint(file).read_product_choices() : text;
    } catch (const std::exception&) {
      if (io_.abandoned()) break;
    }
  return "";
}

// Nothing is written before it is known that the run may begin: not even the guard where no checkpoint leaves a step to
// do, or where files are another user's. A folder that is there is guarded before more than names is looked at: what
// another life still writes must not be read.
std::unique_ptr<RunGuard> Trainer::guard_run_folder(const std::optional<std::string>& restart) {
  std::unique_ptr<RunGuard> guard;
  world_->together([&] {
    if (world_->rank() != 0) return;
    if (restart && restart->empty())
      throw InputError("--restart names no file; name a checkpoint, or latest, or leave --restart out");
    folder_.check();
    refuse_steps_of_another_run(restart);
    std::error_code error;
    if (!std::filesystem::exists(folder_.path(), error)) return;
    folder_.ensure_changeable();
    if (restart == "latest") refuse_an_end_before_all();
    guard = take_guard();
    refuse_steps_of_another_run(restart);  // what another life wrote before it left
  });
  return guard;
}

std::unique_ptr<RunGuard> Trainer::take_guard() {
  auto guard = std::make_unique<RunGuard>(folder_.path());
  guard->end_by([world = world_](const std::string& message) { world->abort(message); });
  folder_.ask_before_naming([guard = guard.get()] { guard->ensure_mine(); });
  return guard;
}

// Rows and checkpoints of two runs in one folder could not be told apart.
void Trainer::refuse_steps_of_another_run(const std::optional<std::string>& restart) const {
  if (restart == "latest" || (restart && folder_.contains(*restart)) || !folder_.holds_steps()) return;
  if (restart)
    throw_input_error(
        "the run folder {} holds the steps of another run than {}; go on from it in a folder of its own: choose "
        "another with --run",
        folder_.path().string(), *restart);
  throw_input_error(
      "the run folder {} holds the steps of an earlier run; continue it with --restart latest, or choose another "
      "folder with --run",
      folder_.path().string());
}

void Trainer::start_state(const std::optional<std::string>& restart) {
  const std::optional<std::filesystem::path> file = restart ? checkpoint_to_load(*restart) : std::nullopt;
  if (file)
    go_on_from(*file, *restart == "latest");
  else
    begin_with_weights();
  model_->optimizer().publish(queue_);
}

void Trainer::begin_with_weights() {
  if (setup_.weights)
    load_weights(*world_, io_, *setup_.weights, model_->parameters());
  else
    model_->parameters().initialize(static_cast<std::uint64_t>(config_.run.seed), queue_.threads());
}

void Trainer::go_on_from(const std::filesystem::path& checkpoint, bool verified) {
  const CheckpointInfo info =
      load_checkpoint(*world_, io_, checkpoint, setup_.plan.parameters, model_->parameters().layout(),
                      memory_of(model_->parameters()), {.verified = verified});
  if (product_choices_.text.empty())
    product_choices_.text = info.meta.products;  // for a later run attempt that needs them
  step_ = info.meta.step;
  samples_ = static_cast<std::uint64_t>(info.meta.samples);
  saver_->take_as_saved(step_);
  std::optional<RestartCheck> check;
  world_->together([&] {
    check.emplace(checkpoint, RunRecord{info.meta.deck, info.meta.data}, RunRecord{setup_.deck.effective, setup_.data});
    check->ensure_same_function();
    check->ensure_same_data();
    refuse_an_end_before(step_);
  });
  tokens_ = info.meta.samples * check->earlier_sequence().value_or(config_.data.sequence);
  log_info("restarting from {}: step {}, {} samples drawn", checkpoint.string(), step_, samples_);
  if (!info.meta.has_moments) log_info("  it holds parameters only: AdamW's moments begin at zero");
  if (setup_.weights) log_info("  --weights {} is not read: that is for step 0", setup_.weights->path.string());
  if (world_->rank() == 0) warn_of_changes(*check);
}

// Of what this deck says otherwise than the one before. A step that is past and was named there, too, was written, or
// its failure was told, when the run came to it: it is not warned of at every restart.
void Trainer::warn_of_changes(const RestartCheck& check) const {
  if (samples_ > 0)  // or none come again
    for (const std::string& change : check.changes_of_data()) log_warning("{}", change);
  if (const auto change = check.change_of_rate(step_)) log_warning("{}", *change);
  const auto warn_of_past = [&](const char* key, const std::vector<std::int64_t>& steps) {
    const std::vector<std::int64_t> named = check.steps_before(key);
    const auto past = std::count_if(steps.begin(), steps.end(), [&](std::int64_t step) {
      return step <= step_ && std::find(named.begin(), named.end(), step) == named.end();
    });
    if (past > 0)
      log_warning(
          "{}: {} of its {} steps are not after step {}, where this run attempt begins, and are new in the deck: they "
          "are not written",
          key, past, steps.size(), step_);
  };
  warn_of_past("trace.steps", config_.trace.steps);
  warn_of_past("capture.steps", config_.capture.steps);
}

void Trainer::open_reader() {
  world_->together([&] {
    const BatchPlan plan({.seed = static_cast<std::uint64_t>(config_.run.seed),
                          .samples_in_file = samples_in_file(setup_.train_header, config_.data.train,
                                                             static_cast<int>(config_.data.sequence)),
                          .global_batch = static_cast<int>(config_.batch.global),
                          .micro_batch = static_cast<int>(config_.batch.micro),
                          .data_ranks = static_cast<int>(config_.mesh.data)});
    reader_.emplace(TokenFile(setup_.train_file, setup_.train_header), plan,
                    BatchReaderOptions{.data_coordinate = place_.at(Axis::data),
                                       .sequence = static_cast<int>(config_.data.sequence),
                                       .samples_drawn = samples_});
  });
}

void Trainer::stage_data() {
  if (config_.data.stage.empty()) return;
  std::vector<std::filesystem::path> files{setup_.train_file};
  if (setup_.validation_header) files.push_back(setup_.validation_file);
  files = stage_files(*world_, files, config_.data.stage, config_.watchdog.seconds);
  setup_.train_file = files.front();
  setup_.validation_file = files.back();
}

// Files that this run attempt would move or replace, and metrics.csv, whose rows it takes over.
void Trainer::refuse_to_change_what_is_anothers() const {
  ensure_later_may_be_moved(folder_.checkpoints(), step_);
  for (const std::int64_t step : config_.capture.steps) {
    const std::filesystem::path capture = folder_.captures() / checkpoint_name(step);
    if (step > step_ && !may_change(capture))
      throw_input_error("{}: the capture of step {} would replace it: {}, or leave the step out of capture.steps",
                        capture.string(), step, cure_of_no_permission(capture, "w"));
  }
  if (step_ > 0) rows_up_to(folder_.metrics(), step_);
}

// All that may refuse has passed: what other run attempts have begun goes. Whether one of them, which this one
// supersedes, has saved a checkpoint since this one looked.
bool Trainer::others_saved_meanwhile(const std::optional<std::string>& restart) {
  bool saved = false;
  world_->together([&] {
    if (world_->rank() != 0 || !guard_) return;
    refuse_to_change_what_is_anothers();
    guard_->remove_what_others_began();
    saved = restart == "latest" && newest_step(folder_.checkpoints()) != newest_seen_;
  });
  return world_->largest(saved ? 1 : 0) != 0;
}

// The first that is written. From the record of this life on, whatever ends it before its first step is recorded, too.
void Trainer::begin_life(const std::optional<std::string>& restart) {
  std::vector<std::filesystem::path> made;
  try {
    world_->together([&] {
      if (world_->rank() != 0) return;
      folder_.create(made);
      if (!guard_) {
        guard_ = take_guard();
        guard_->remove_what_others_began();
      }
      refuse_steps_of_another_run(restart);
      folder_.set_report_aside();
      folder_.record(LifeEnd::running, step_, 0, "");
    });
  } catch (const CollectiveFailure&) {
    remove_empty(made);
    throw;
  }
  try {
    write_first_files();
    keep_failures();
    list_ranks();
    introduce();
    watch_speeds();
  } catch (const CollectiveFailure& failure) {
    record(LifeEnd::failed, failure.exit_code(), failure.what());
    remove_empty(made);
    throw;
  }
}

// Folders that this run made and has nothing in, since it does not begin.
void Trainer::remove_empty(const std::vector<std::filesystem::path>& made) {
  if (made.empty()) return;
  guard_.reset();  // it lies in the outermost
  remove_empty_folders(made);
}

// Checkpoints of later steps do not belong to the curve that goes on here, and damaged ones must not count among the
// newest that are kept.
void Trainer::write_first_files() {
  world_->together([&] {
    if (world_->rank() != 0) return;
    for (const std::filesystem::path& aside : set_aside_later(folder_.checkpoints(), step_))
      log_info("{} is beyond step {}: moved to {}", aside.filename().string(), step_, aside.parent_path().string());
    folder_.write_deck(setup_.deck.effective);
    // What a life carries along without measuring replaces nothing.
    if (!product_choices_.text.empty() &&
        (config_.device.measure || !std::filesystem::exists(folder_.product_choices())))
      folder_.write_product_choices(product_choices_.text);
    metrics_.emplace(folder_.metrics(), step_, [this] { guard_->ensure_mine(); });
    tokens_ = metrics_->tokens().value_or(tokens_);  // samples of several lives may have had several lengths
    progress_.emplace(step_ + 1, agenda_.last_step());
  });
}

// A life that would do no step has nothing to save, and its end would point to a checkpoint that it does not have.
void Trainer::refuse_an_end_before(std::int64_t step) const {
  if (step < agenda_.last_step()) return;
  const char* key = agenda_.last_step() < config_.run.steps ? "run.stop" : "run.steps";
  if (step == config_.run.steps && agenda_.last_step() == step && saved_in_this_folder(step)) return;
  throw_input_error(
      "the checkpoint is of step {}, but {} = {}: there is no step left to do; use a larger {}, or an earlier "
      "checkpoint",
      step, key, agenda_.last_step(), key);
}

// By the files' names, the newest first: which of them is whole is not known yet.
void Trainer::refuse_an_end_before_all() const {
  const std::vector<CheckpointFile> files = checkpoint_files(folder_.checkpoints());
  if (!files.empty()) refuse_an_end_before(files.back().step);
}

// Whether the run folder holds this step: then a life that finds all steps done is simply done.
bool Trainer::saved_in_this_folder(std::int64_t step) const {
  std::error_code error;
  return std::filesystem::exists(folder_.checkpoints() / checkpoint_name(step), error);
}

std::optional<std::filesystem::path> Trainer::checkpoint_to_load(const std::string& restart) {
  if (restart != "latest") return restart;
  world_->together([&] {
    if (world_->rank() == 0) newest_seen_ = newest_step(folder_.checkpoints());
  });
  const Latest latest = find_latest(*world_, io_, folder_.checkpoints());
  std::string reasons;
  for (const Latest::PassedOver& passed : latest.passed_over) {  // `why` begins with the file's path
    if (latest.file && world_->rank() == 0) log_warning("passed over {}", passed.why);
    reasons += "\n  " + passed.why;
  }
  if (latest.file) return latest.file->path;
  if (!latest.passed_over.empty())
    throw CollectiveFailure(
        {2, fmt::format("{} holds no whole checkpoint; put a whole copy of one there, or begin anew "
                        "in another folder with --run:{}",
                        folder_.checkpoints().string(), reasons)});
  log_info("--restart latest: {} holds no checkpoint yet, starting at step 0", folder_.checkpoints().string());
  return std::nullopt;
}

// Whichever rank reports the end of a job that hangs writes it down.
void Trainer::keep_failures() {
  const std::string life = world_->broadcast(guard_ ? guard_->holder().life : "");
  world_->set_failure_keeper(
      [record = FailureRecord(folder_.path(), life)](const FailureReport& report) { return record.keep(report); });
}

// Ranks that share cores have times of chance.
void Trainer::watch_speeds() {
  if (world_->size() == 1) return;
  if (ranks_share_cores(*world_, queue_.threads())) {
    log_info("  slow ranks and links are not looked for: ranks share cores here");
    return;
  }
  const std::int64_t everywhere = -world_->largest(-model_->idle().elements());
  const TensorView idle = model_->idle().range(0, everywhere);
  links_.emplace(*world_, queue_, communicators_, setup_.mesh, idle);
  speeds_.emplace(*world_, *links_, setup_.plan, setup_.mesh);
  if (!config_.run.preflight) return;
  const auto start = Clock::now();
  warn(preflight(*world_, queue_, setup_.plan, idle, *links_));
  log_info("  preflight took {:.2f} s", seconds_since(start));
}

void Trainer::introduce() const {
  const std::int64_t total = total_parameters(setup_.plan);
  log_info("Penstock trains {} parameters on {} rank{}, {} node{}: {}", total, world_->size(),
           world_->size() == 1 ? "" : "s", world_->nodes(), world_->nodes() == 1 ? "" : "s", setup_.mesh.text());
  for (const std::string& line : stage_lines(setup_.plan)) log_info("  {}", line);
  log_info(
      "  schedule {}, {} microbatches of {} x {} tokens a replica, {} thread{} a rank, {} with gradients in {} on {}",
      setup_.plan.schedule.name, setup_.plan.microbatches(), config_.batch.micro, config_.data.sequence,
      queue_.threads(), queue_.threads() == 1 ? "" : "s", config_.precision.compute, name_of(setup_.plan.cut.gradient),
      device_text());
  if (!product_choices_.sources.empty()) log_info("  products: {}", product_choices_.sources);
  const std::size_t staging = staging_bytes(setup_.plan, place_, config_.saves_behind_training());
  log_info("  rank 0 holds {}{}", memory_text(plan_memory(setup_.plan, place_, queue_.threads())),
           staging > 0 ? fmt::format("; {} of staging for saves", bytes_text(staging)) : "");
  if (world_->rank() == 0)
    for (const std::string& warning : deck_warnings(config_)) log_warning("{}", warning);
}

// Launchers name a lost process by host and number: which rank that was is written down.
void Trainer::list_ranks() const {
  const std::vector<std::string> lines =
      world_->gather(fmt::format("{},{},{},{}", world_->rank(), World::host(), getpid(), device_text()));
  world_->together([&] {
    if (world_->rank() == 0) folder_.write_ranks(lines);
  });
}

}  // namespace penstock
